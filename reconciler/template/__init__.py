"""Handlebars, JSON-safe: templates compiled, checked and rendered. Pure, and knows nothing of webhooks."""

from reconciler.template.body import compile_body, is_json_type, used_partials
from reconciler.template.check import check_body
from reconciler.template.compile import Template, compile_template
from reconciler.template.fault import TemplateFault

__all__ = [
    "Template",
    "TemplateFault",
    "check_body",
    "compile_body",
    "compile_template",
    "is_json_type",
    "used_partials",
]
