"""Manifests made of one part that is said and the rest that is sound."""

from collections.abc import Callable
from pathlib import Path
from textwrap import indent

import pytest

from reconciler.errors import Problem
from reconciler.manifest.load import Manifests, load_manifests

URL = "https://hooks.example.com/in"


def manifest(spec: str = "", *, name: str = "hook", url: str = URL, metadata: str = "") -> str:
    """A Webhook document; `spec` and `metadata` are lines of YAML that stand after the required ones."""
    lines = ["apiVersion: reconciler/v1", "kind: Webhook", "metadata:", f"  name: {name}"]
    lines += [indent(metadata, "  ")] if metadata else []
    lines += ["spec:", f"  url: {url}", "  triggers: [RequestCreated]"]
    lines += [indent(spec, "  ")] if spec else []
    return "\n".join(lines) + "\n"


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Manifests]:
    """`load(text, …, variables={…})`: each text a file of its own."""

    def loaded(*texts: str, variables: dict[str, str] | None = None) -> Manifests:
        for number, text in enumerate(texts):
            (tmp_path / f"{number:03}.yaml").write_text(text, "utf-8")
        return load_manifests([tmp_path], variables=variables)

    return loaded


@pytest.fixture
def problems(load: Callable[..., Manifests]) -> Callable[..., tuple[Problem, ...]]:
    """The problems of such texts."""
    return lambda *texts, **options: load(*texts, **options).problems
