"""`webhooks pause|resume` on a store file and through a daemon, and the page that walks through a bad day."""

import asyncio
import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from served import NOW, running, webhook
from served import publish as publish_webhooks

from reconciler.cli.main import cli, run
from reconciler.dispatch.intake import Intake
from reconciler.dispatch.live import Live
from reconciler.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from reconciler.store.sqlite.store import SqliteStore
from reconciler.web.app import build_app

NAME = "okta-access-requests"
URL = "https://acme.workflows.okta.com/api/flo/0123456789abcdef0123456789abcdef/invoke"
PAGE = Path(__file__).parents[2] / "docs" / "receiver-down.md"
KINDS = ("Created", "Approved", "Granted")
REQUESTS = 20


async def fill(folder: Path) -> None:
    """A store with that webhook and three states of each access request pending."""
    async with SqliteStore(folder / "reconciler.db") as store:
        triggers = [f"Request{kind}" for kind in KINDS]
        await publish_webhooks(store, webhook(NAME, url=URL, triggers=triggers))
        live = Live(store)
        await live.refresh()
        intake = Intake(store, live, now=lambda: NOW, wake=lambda: None)
        events = [
            {"event_type": f"AccessRequest{kind}", "event_time": number, "data": {"id": f"ar-{number}"}}
            for number in range(REQUESTS)
            for kind in KINDS
        ]
        await intake.take(json.dumps(events).encode(), source="test")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECONCILER_STORE", raising=False)
    asyncio.run(fill(tmp_path))
    return tmp_path


def told(capfd: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = run(list(args))
    found = capfd.readouterr()
    return code, found.out, found.err


def blocks() -> list[tuple[list[str], str]]:
    """The commands of the page, each with the output that it shows."""
    found = re.findall(r"```console\n\$ reconciler ([^\n]*)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    return [(shlex.split(command), output) for command, output in found]


def alike(text: str) -> list[str]:
    """Text without what differs from store to store: numbers, spans of time, times, ids, whoever's name; of `show` the
    facts alone."""
    text = text.split("\n\n")[0]
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    text = re.sub(r"(dlv|evt)_[0-9a-f]{32}", "ID", text)
    text = re.sub(r"uid {9}\S+", "uid UID", text)
    text = re.sub(r"[\d,.]+ (h|min|s) at", "SPAN at", text)
    return re.sub(r"\d[\d,]*(?= (pending|in flight|delivered|dead|cancelled|that))", "N", text).rstrip().splitlines()


def test_the_page_tells_what_the_commands_print(room: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each command of docs/receiver-down.md, in its order, upon a smaller backlog."""
    assert len(blocks()) == 6

    for command, shown in blocks():
        code, out, _ = told(capfd, *command)

        assert code == EXIT_OK, command
        assert alike(out) == alike(shown), command


def test_a_dry_run_changes_nothing(room: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told(capfd, "webhooks", "pause", NAME, "--reason", "a reason")
    before = told(capfd, "webhooks", "show", NAME, "--format", "json")[1]

    code, out, _ = told(capfd, "webhooks", "resume", NAME, "--compact", "--dry-run", "--format", "json")

    assert code == EXIT_OK
    assert (json.loads(out)["superseded"], json.loads(out)["cancelled"]) == (2 * REQUESTS, 0)
    assert told(capfd, "webhooks", "show", NAME, "--format", "json")[1] == before


@pytest.mark.parametrize("option", ["--compact", "--fresh-first"])
def test_without_a_terminal_nothing_is_done_unless_approved(
    room: Path, capfd: pytest.CaptureFixture[str], option: str
) -> None:
    told(capfd, "webhooks", "pause", NAME, "--reason", "a reason")

    code, _, err = told(capfd, "webhooks", "resume", NAME, option)

    assert code == EXIT_FAILED
    assert "nothing was done" in err
    shown = json.loads(told(capfd, "webhooks", "show", NAME, "--format", "json")[1])
    assert shown["paused"]["reason"] == "a reason"
    assert shown["deliveries"]["cancelled"] == 0


def test_a_plain_resume_asks_nothing(room: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told(capfd, "webhooks", "pause", NAME, "--reason", "a reason")

    code, out, _ = told(capfd, "webhooks", "resume", NAME)

    assert code == EXIT_OK
    assert out.splitlines()[-1] == "Resumed"
    assert json.loads(told(capfd, "webhooks", "show", NAME, "--format", "json")[1])["paused"] is None


def test_json_tells_the_backlog_and_what_holds_it_back(room: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told(capfd, "webhooks", "pause", NAME, "--reason", "a reason", "--until", "2h", "--as", "ann")

    shown = json.loads(told(capfd, "webhooks", "show", NAME, "--format", "json")[1])

    assert (shown["paused"]["paused_by"], shown["paused"]["reason"], shown["breaker"]) == ("ann", "a reason", None)
    assert shown["paused"]["until"] is not None
    assert shown["backlog"]["pending"] == 60
    assert shown["backlog"]["seconds"] == pytest.approx(60 / 9, abs=0.1)
    [listed] = json.loads(told(capfd, "webhooks", "list", "--format", "json")[1])
    assert listed["paused"] == shown["paused"]


@pytest.mark.parametrize("until", ["yesterday", "2020-01-01T00:00:00Z", "5", "0s"])
def test_a_pause_that_would_be_over_or_cannot_be_read_is_refused(
    room: Path, capfd: pytest.CaptureFixture[str], until: str
) -> None:
    code, _, err = told(capfd, "webhooks", "pause", NAME, "--reason", "a reason", "--until", until)

    assert code == EXIT_USAGE
    assert until in err


def test_a_reason_is_asked_for(room: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert told(capfd, "webhooks", "pause", NAME)[0] == EXIT_USAGE
    for reason in ("  ", "two\nlines", "a" * 1025, "\ud800"):
        assert told(capfd, "webhooks", "pause", NAME, "--reason", reason)[0] == EXIT_USAGE


def test_an_unknown_webhook_is_said(room: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for verb in (("pause", "--reason", "a reason"), ("resume",)):
        code, _, err = told(capfd, "webhooks", *verb, "nobody")
        assert code == EXIT_FAILED
        assert "nobody" in err
        assert "PATH" not in err, "these commands know nothing of manifests"


def test_a_resume_of_what_nothing_holds_says_so(room: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capfd, "webhooks", "resume", NAME)

    assert code == EXIT_OK
    assert out.splitlines()[-1] == "Nothing was held back: nothing to resume"


async def invoke(*args: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, cli, list(args), standalone_mode=False)


async def test_all_of_it_works_through_a_daemon_and_wakes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    await fill(tmp_path)
    woken: list[bool] = []
    async with SqliteStore(tmp_path / "reconciler.db") as store:
        live = Live(store)
        intake = Intake(store, live, now=lambda: NOW, wake=lambda: None)
        app = build_app(
            store=store, live=live, intake=intake, status=dict, now=lambda: NOW, on_operate=lambda: woken.append(True)
        )
        async with running(app) as url:
            paused = await invoke("--store", url, "webhooks", "pause", NAME, "--reason", "a reason", "--as", "ann")
            assert paused.exception is None, paused.output
            assert (await store.flow(NAME)).halt.pause is not None

            resumed = await invoke(
                "--store", url, "webhooks", "resume", NAME, "--compact", "--fresh-first", "--auto-approve"
            )

            assert resumed.exception is None, resumed.output
            assert f"Resumed: {2 * REQUESTS} cancelled as superseded" in resumed.output
            assert (await store.flow(NAME)).halt.pause is None
            assert (await store.flow(NAME)).pending == REQUESTS
            assert len(woken) == 3, "the pause, the compaction, the resumption"
