"""A folder with a store, entered, and the command called in it."""

from pathlib import Path

import pytest
from history_folder import Called, Room

from reconciler.cli.main import run

ORIGIN_VARIABLES = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "GITHUB_SHA", "CI_COMMIT_SHA", "RECONCILER_STORE", "CI")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Room:
    """The working folder."""
    for name in ORIGIN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifests").mkdir()

    def call(*args: str) -> Called:
        capsys.readouterr()
        code = run(args)
        captured = capsys.readouterr()
        return Called(code, captured.out, captured.err)

    return Room(tmp_path, call)
