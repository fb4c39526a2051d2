"""A manifest of which one part is said and the rest is sound."""

from textwrap import indent

URL = "https://hooks.example.com/in"


def manifest(spec: str = "", *, name: str = "hook", url: str = URL, metadata: str = "") -> str:
    """A Webhook document; `spec` and `metadata` are lines of YAML that stand after the required ones."""
    lines = ["apiVersion: reconciler/v1", "kind: Webhook", "metadata:", f"  name: {name}"]
    lines += [indent(metadata, "  ")] if metadata else []
    lines += ["spec:", f"  url: {url}", "  triggers: [RequestCreated]"]
    lines += [indent(spec, "  ")] if spec else []
    return "\n".join(lines) + "\n"
