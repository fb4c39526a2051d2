"""Manifests in a folder, and the command called in this process, where one of its own is not what is tested."""

from collections.abc import Callable
from pathlib import Path

import pytest
from apply_folder import Called, Folder

from reconciler.cli.main import run

ORIGIN_VARIABLES = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "GITHUB_SHA", "CI_COMMIT_SHA", "RECONCILER_STORE", "CI")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """The working folder, entered."""
    for name in ORIGIN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifests").mkdir()
    return Folder(tmp_path)


@pytest.fixture
def call(folder: Folder, capsys: pytest.CaptureFixture[str]) -> Callable[..., Called]:
    """`call(*args)` runs the command in the folder, without a terminal."""

    def command(*args: str) -> Called:
        capsys.readouterr()
        code = run(args)
        captured = capsys.readouterr()
        return Called(code, captured.out, captured.err)

    return command
