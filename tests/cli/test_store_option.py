"""Which store a command works on: what is said on its line goes before what the environment says."""

import asyncio
import json
from pathlib import Path

import pytest
from served import open_room, webhook

from reconciler.cli.main import run

LINES = {
    "after": ["webhooks", "list", "--store", "{named}"],
    "before": ["--store", "{named}", "webhooks", "list"],
    "before a command without a family": ["--store", "{named}", "export"],
    "both, the one after": ["--store", "{environment}", "webhooks", "list", "--store", "{named}"],
}


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Two stores, each with a webhook of its name; the environment names one of them."""

    async def make(name: str) -> str:
        folder = tmp_path / name
        folder.mkdir()
        async with open_room(folder, webhook(name)):
            return f"sqlite:///{folder / 'store.db'}"

    made = {name: asyncio.run(make(name)) for name in ("named", "environment")}
    monkeypatch.setenv("RECONCILER_STORE", made["environment"])
    return made


@pytest.mark.parametrize("line", list(LINES))
def test_a_store_that_is_named_is_the_one(
    line: str, stores: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the command or after it; else a trial could be applied where production is."""
    assert run([word.format(**stores) for word in LINES[line]]) == 0

    out = capsys.readouterr().out
    assert "named" in out and "environment" not in out


def test_where_none_is_named_it_is_that_of_the_environment(
    stores: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["webhooks", "list", "--format", "json"]) == 0

    assert [item["name"] for item in json.loads(capsys.readouterr().out)] == ["environment"]
