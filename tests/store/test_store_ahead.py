"""What another process reads ahead of a command is what the store tells; where it cannot, the store is left to tell."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from store_make import add, make_change_set, make_lane, make_live, publish

from reconciler.models.revision import ChangeSet, Hold, LiveState
from reconciler.models.webhook import Policy
from reconciler.store import ahead as ahead_module
from reconciler.store.ahead import LiveAhead
from reconciler.store.open import open_store
from reconciler.store.sqlite import live
from reconciler.store.sqlite.schema import migrations, prepare


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead_module, "processors", lambda: 2)
    monkeypatch.setattr("reconciler.fork.WRITTEN_BYTES", 1000)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


def apply(url: str, *change_sets: ChangeSet) -> LiveState:
    """Publish them; what the store tells then."""

    async def applied() -> LiveState:
        opened = open_store(url, create=True)
        assert opened is not None
        async with opened as store:
            for change_set in change_sets:
                await store.publish(change_set)
            return await store.live_state()

    return asyncio.run(applied())


def filled(url: str) -> LiveState:
    """Webhooks of two owners, edited, renamed and deleted since, one of them protected; and a policy."""
    hooks = [
        make_live(f"u{number}", f"hook-{number}", title="x" * number, owner="ab"[number % 2]) for number in range(9)
    ]
    lineage = apply(url, make_change_set(0, hooks, owner="a", policy=Policy(max_delete_percent=7))).lineage
    later = [make_live("u1", "hook-one", owner="b", is_protected=True), make_live("u2", "hook-2", title="Zoë")]
    return apply(url, make_change_set(1, later, deletes=["u3"], lineage=lineage))


def read_ahead(url: str) -> LiveState | None:
    with LiveAhead.begin(url) as ahead:
        assert ahead.part is not None
        known = ahead.snapshot()
        return None if known is None else known.state


def no_children() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return True


def told(state: LiveState | None) -> object:
    assert state is not None
    return state, [(item.webhook.canonical(), item.webhook.document()) for item in state.webhooks]


def test_what_is_read_ahead_is_what_the_store_tells(url: str) -> None:
    expected = filled(url)

    state = read_ahead(url)

    assert told(state) == told(expected)
    assert len(expected.webhooks) == 8
    assert no_children()


def test_a_store_that_was_never_applied_to_is_read_as_such(url: str) -> None:
    expected = apply(url)

    assert told(read_ahead(url)) == told(expected)


def test_a_document_edited_by_hand_is_told(url: str) -> None:
    filled(url)
    with sqlite3.connect(url.removeprefix("sqlite:///")) as db:
        db.execute("UPDATE documents SET body = replace(body, 'Zoë', 'Zoe')")
    db.close()

    state = read_ahead(url)

    assert state is not None
    assert [item.uid for item in state.webhooks if not item.is_intact] == ["u2"]
    assert told(state) == told(apply(url))


def test_what_was_read_stays_what_it_was(url: str) -> None:
    """A plan is of one state of the store, whatever is applied while it is shown."""
    before = filled(url)

    state = read_ahead(url)
    apply(url, make_change_set(2, [make_live("u1", "other")], lineage=before.lineage))

    assert told(state) == told(before)


def test_deliveries_history_and_holds_are_read_with_it(url: str) -> None:
    """All of one moment; of a long history the newest part."""

    async def busy() -> tuple[object, ...]:
        opened = open_store(url, create=True)
        assert opened is not None
        async with opened as store:
            await publish(store, *(make_live(uid, uid) for uid in "ab"))
            await store.configure(1, [make_lane(uid) for uid in "ab"])
            await add(store, "a", "1", "2")
            await publish(store, make_live("b", "b", title="later"))
            await store.set_hold("", Hold("", 5, "ann", "why"))
            return await store.unfinished(), await store.revisions(), await store.holds()

    expected = asyncio.run(busy())

    with LiveAhead.begin(url) as ahead:
        known = ahead.snapshot()

    assert known is not None
    assert (known.unfinished, known.revisions, known.holds) == expected
    assert known.unfinished == {"a": 2}
    assert known.is_whole


def make_foreign(path: Path) -> None:
    sqlite3.connect(path).execute("CREATE TABLE notes (text)").connection.close()


def make_older(path: Path) -> None:
    path.touch()
    prepare(path, migrations()[:-1]).close()


@pytest.mark.parametrize(
    "make", [make_foreign, make_older, Path.touch, Path.mkdir, lambda path: path.write_text("text")]
)
def test_any_other_file_is_left_to_the_store(
    url: str, make: Callable[[Path], object], capfd: pytest.CaptureFixture[str]
) -> None:
    """Also one that must be brought to the newest schema first."""
    path = Path(url.removeprefix("sqlite:///"))
    make(path)

    assert read_ahead(url) is None
    assert capfd.readouterr() == ("", "")
    assert no_children()


@pytest.mark.parametrize("url", [None, "https://daemon.example.com", "sqlite://nowhere", "sqlite:////none/store.db"])
def test_what_is_no_file_is_not_read_ahead(url: str | None) -> None:
    with LiveAhead.begin(url) as ahead:
        assert ahead.part is None
        assert ahead.snapshot() is None


@pytest.mark.parametrize("deed", [lambda: os._exit(0), lambda: os._exit(7), lambda: os.kill(os.getpid(), 9)])
def test_a_process_that_does_not_come_to_its_end_tells_nothing(
    url: str, deed: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(url)
    documents = live._documents

    def failing(db: object, ids: Sequence[int]) -> object:
        yield from documents(db, ids)
        deed()

    monkeypatch.setattr(live, "_documents", failing)

    assert read_ahead(url) is None
    assert no_children()


def test_a_command_that_ends_early_leaves_no_process_behind(url: str) -> None:
    filled(url)
    open_files = len(os.listdir("/proc/self/fd"))

    with pytest.raises(KeyboardInterrupt), LiveAhead.begin(url):
        raise KeyboardInterrupt

    assert no_children()
    assert len(os.listdir("/proc/self/fd")) == open_files
