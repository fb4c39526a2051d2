"""Sets of manifests given as texts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.errors import Problem
from reconciler.manifest.load import Manifests, load_manifests


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
