"""Laws of what is written: it reads back the same, by our loader and by others, and is the same bytes every time."""

from pathlib import Path
from typing import Any

import yaml
from history_samples import any_text, texts, webhooks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.manifest.emit import yaml_text
from reconciler.manifest.export import webhook_manifest
from reconciler.manifest.format import dump_manifests
from reconciler.manifest.load import load_manifests
from reconciler.manifest.parse import parse
from reconciler.models.webhook import Webhook

documents = st.dictionaries(
    texts,
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63)
        | st.floats(allow_nan=False, allow_infinity=False)
        | any_text,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
        max_leaves=12,
    ),
    min_size=1,
    max_size=4,
)


@settings(deadline=None)
@given(documents)
def test_every_parser_reads_back_what_was_written(document: dict[str, Any]) -> None:
    """YAML 1.1 by two implementations, and our own; types and the order of keys included."""
    text = yaml_text(document)

    parsed = parse("document", text, {})

    assert repr(yaml.load(text, yaml.SafeLoader)) == repr(document)
    assert repr(yaml.load(text, yaml.CSafeLoader)) == repr(document)
    if not any(problem.code.startswith("reference.") for problem in parsed.problems):
        assert parsed.problems == ()
        assert [repr(found.value) for found in parsed.documents] == [repr(document)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(webhook=webhooks)
def test_property_09_an_exported_webhook_loads_as_itself(webhook: Webhook, tmp_path: Path) -> None:
    """Property 9: quotes, references, YAML 1.1 surprises, trailing spaces and tabs survive; so the plan is empty."""
    text = dump_manifests([webhook_manifest(webhook)])
    file = tmp_path / "exported.yaml"
    file.write_text(text, "utf-8")

    loaded = load_manifests([file])

    assert [problem for problem in loaded.problems if problem.is_error] == [], text
    assert [found.canonical() for found in loaded.webhooks] == [webhook.canonical()], text


@settings(deadline=None)
@given(webhooks)
def test_what_is_exported_twice_is_the_same_bytes(webhook: Webhook) -> None:
    """Also after the store has kept it in its canonical form, whatever order its keys had."""
    stored = Webhook.from_document(webhook.canonical())

    again = Webhook.from_document(stored.canonical())

    assert dump_manifests([webhook_manifest(again)]) == dump_manifests([webhook_manifest(stored)])
