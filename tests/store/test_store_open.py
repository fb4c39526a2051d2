"""From a URL to a store: what is made, what is refused, what is left behind."""

import asyncio
import os
import stat
from pathlib import Path

import apsw
import pytest
from store_make import add, make_lane, make_live, publish

from reconciler.errors import ReconcilerError, StoreError
from reconciler.store.base import Store
from reconciler.store.examine import LooseFile
from reconciler.store.open import open_store
from reconciler.store.sqlite.mode import make_file, shut_files


def opened(url: str, *, create: bool = True) -> Store:
    store = open_store(url, create=create)
    assert store is not None
    return store


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


async def test_relative_absolute_home_and_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sqlite:///` is followed by the path as the shell would have it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "with space%20?#").mkdir()

    for url in ("sqlite:///one.db", "sqlite:///~/two.db", f"sqlite:///{tmp_path}/with space%20?#/three.db"):
        async with opened(url) as store:
            assert await store.live_revision() == 0

    assert {path.name for path in tmp_path.iterdir()} == {"one.db", "two.db", "with space%20?#"}
    assert (tmp_path / "with space%20?#" / "three.db").exists()


@pytest.mark.parametrize(
    ("url", "fact"),
    [
        ("reconciler.db", "not a store's URL"),
        ("mysql://host/db", "not a store's URL"),
        ("", "not a store's URL"),
        ("sqlite://relative.db", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///folder/", "names no file"),
        ("postgresql://host/db", "postgresql:// stores are not available in this version"),
        ("https://daemon.example", "names a daemon, not a store to open"),
        ("http://127.0.0.1:8420", "names a daemon, not a store to open"),
    ],
)
def test_a_url_that_names_no_store_is_refused_with_the_form(url: str, fact: str) -> None:
    """Before anything is touched."""
    with pytest.raises(ReconcilerError, match=fact) as caught:
        open_store(url, create=False)

    assert "sqlite:///reconciler.db" in caught.value.hint


async def test_without_create_nothing_is_made(tmp_path: Path) -> None:
    """A plan creates no store: a missing one, one in a missing folder and an empty file are none."""
    (tmp_path / "empty.db").touch()

    for name in ("missing.db", "nowhere/missing.db", "empty.db"):
        assert open_store(url_of(tmp_path / name), create=False) is None

    assert [path.name for path in tmp_path.iterdir()] == ["empty.db"]
    assert (tmp_path / "empty.db").stat().st_size == 0


async def test_an_empty_file_becomes_a_store_where_one_is_wanted(tmp_path: Path) -> None:
    """What `touch` or a crash at the wrong moment left."""
    (tmp_path / "empty.db").touch()

    async with opened(url_of(tmp_path / "empty.db")) as store:
        assert await publish(store, make_live("u1", "a")) == 1


async def test_reading_leaves_no_file_behind_and_changes_none(tmp_path: Path) -> None:
    """A plan reads; beside the store there is nothing afterwards."""
    path = tmp_path / "store.db"
    async with opened(url_of(path)) as store:
        await publish(store, make_live("u1", "a"))
    before = path.read_bytes()

    async with opened(url_of(path), create=False) as store:
        assert (await store.live_state()).revision == 1
        assert await store.unfinished() == {}

    assert [file.name for file in tmp_path.iterdir()] == ["store.db"]
    assert path.read_bytes() == before


async def test_the_files_are_their_owners_alone(tmp_path: Path) -> None:
    """Event bodies are nobody else's business: 0600 for the store, its -wal, its -shm and the lock."""
    old = os.umask(0)
    try:
        async with opened(url_of(tmp_path / "store.db")) as store:
            await publish(store, make_live("u1", "a"))
            store.take_daemon_lock()
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(old)

    assert modes == dict.fromkeys(("store.db", "store.db-wal", "store.db-shm", "store.db.lock"), 0o600)


async def test_the_files_of_a_store_that_everybody_could_use_are_shut_by_its_daemon(tmp_path: Path) -> None:
    """A backup put in place by `cp` is open to everybody; a group is somebody's choice and stays. What reads the store
    changes nothing."""
    path = tmp_path / "store.db"
    async with opened(url_of(path)) as store:
        await publish(store, make_live("u1", "a"))
    path.chmod(0o664)
    (tmp_path / "store.db.lock").touch()
    (tmp_path / "store.db.lock").chmod(0o666)

    async with opened(url_of(path)) as store:
        await store.live_state()
        assert stat.S_IMODE(path.stat().st_mode) == 0o664
        shut = store.take_daemon_lock()
        await publish(store, make_live("u2", "b"))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
        assert store.take_daemon_lock() == ()

    assert modes == dict.fromkeys(("store.db", "store.db-wal", "store.db-shm", "store.db.lock"), 0o660)
    assert {(Path(item.path).name, item.mode) for item in shut} >= {("store.db", 0o664), ("store.db.lock", 0o666)}


def test_a_store_that_everybody_may_write_and_nobody_can_shut_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's files: of what others may only read `doctor` tells."""
    path = tmp_path / "store.db"

    def refuse(*_: object) -> None:
        raise PermissionError

    def shut(mode: int) -> tuple[LooseFile, ...]:
        path.touch()
        path.chmod(mode)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "chmod", refuse)
            return shut_files(path)

    assert shut(0o644) == ()
    with pytest.raises(StoreError, match=r"everybody may write what the daemon serves: .*store.db \(mode 0646\)"):
        shut(0o646)


async def test_a_store_that_cannot_be_shut_leaves_the_lock_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever mends it need not end a daemon that never began."""
    async with opened(url_of(tmp_path / "store.db")) as store, opened(url_of(tmp_path / "store.db")) as other:
        (tmp_path / "store.db").chmod(0o666)
        with monkeypatch.context() as patch, pytest.raises(StoreError, match="everybody may write"):
            patch.setattr("reconciler.store.sqlite.mode._shut", lambda file, mode: _refuse(file))
            store.take_daemon_lock()

        assert [Path(item.path).name for item in other.take_daemon_lock()][:1] == ["store.db"]


def _refuse(file: Path) -> bool:
    raise StoreError(f"everybody may write what the daemon serves: {file}")


async def test_a_store_is_made_once_by_two_who_come_at_the_same_moment(tmp_path: Path) -> None:
    """The one who is second finds a file, and leaves its mode alone."""
    make_file(tmp_path / "store.db")
    (tmp_path / "store.db").chmod(0o640)

    make_file(tmp_path / "store.db")

    assert stat.S_IMODE((tmp_path / "store.db").stat().st_mode) == 0o640
    with pytest.raises(StoreError):
        make_file(tmp_path / "missing" / "store.db")


async def test_the_writes_are_synced_and_never_mapped(tmp_path: Path) -> None:
    """Durable when it returns: WAL, synchronous FULL, foreign keys on."""
    async with opened(url_of(tmp_path / "store.db")) as store:

        def settings(db: apsw.Connection) -> list[object]:
            names = ("journal_mode", "synchronous", "foreign_keys", "mmap_size")
            return [db.execute(f"PRAGMA {name}").get for name in names]

        assert await store._write(settings) == ["wal", 2, 1, 0]  # type: ignore[attr-defined]


@pytest.mark.parametrize("create", [True, False])
async def test_what_is_no_store_is_left_alone(tmp_path: Path, create: bool) -> None:
    """A text, a folder, another program's database."""
    (tmp_path / "text.db").write_bytes(b"not a database, but long enough to be looked at\n" * 100)
    (tmp_path / "folder.db").mkdir()
    foreign = apsw.Connection(str(tmp_path / "foreign.db"))
    foreign.execute("CREATE TABLE people (name)")
    foreign.close()
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    for name, fact in (("text", "not a SQLite database"), ("folder", "is a folder"), ("foreign", "another program")):
        with pytest.raises(StoreError, match=fact) as caught:
            async with opened(url_of(tmp_path / f"{name}.db"), create=create):
                pass
        assert str(tmp_path / f"{name}.db") in caught.value.message
        assert caught.value.hint

    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """It is not made: a mistyped path must not grow a tree."""
    with pytest.raises(StoreError, match=f"folder of the store does not exist: {tmp_path / 'nowhere'}"):
        async with opened(url_of(tmp_path / "nowhere" / "store.db")):
            pass


async def test_a_damaged_store_says_so(tmp_path: Path) -> None:
    """A file cut short, or overwritten in the middle."""
    path = tmp_path / "store.db"
    async with opened(url_of(path)) as store:
        await publish(store, *(make_live(f"u{number}", f"w{number}") for number in range(200)))
    raw = path.read_bytes()
    path.write_bytes(raw[:8192] + b"\xa5" * (len(raw) - 8192))

    with pytest.raises(StoreError, match="damaged") as caught:
        async with opened(url_of(path)) as store:
            await store.live_state()

    assert "backup" in caught.value.hint


async def test_two_who_make_the_same_store_make_one(tmp_path: Path) -> None:
    """Both find it made; its lineage is one."""
    url = url_of(tmp_path / "store.db")

    async def lineage() -> str:
        async with opened(url) as store:
            return (await store.live_state()).lineage

    lineages = await asyncio.gather(*(lineage() for _ in range(8)))

    assert len(set(lineages)) == 1


async def test_a_store_that_is_not_open_refuses(tmp_path: Path) -> None:
    """Before it is entered and after it is left."""
    store = opened(url_of(tmp_path / "store.db"))
    with pytest.raises(StoreError, match="not open"):
        await store.live_revision()
    async with store:
        await publish(store, make_live("a", "a"))

    with pytest.raises(StoreError, match="closed"):
        await store.live_revision()
    with pytest.raises(StoreError, match="closed"):
        await store.configure(1, [make_lane("a")])


async def test_what_was_queued_is_written_before_the_store_closes(tmp_path: Path) -> None:
    """Closing waits."""
    url = url_of(tmp_path / "store.db")
    async with opened(url) as store:
        await publish(store, make_live("a", "a"))
        adding = [asyncio.create_task(add(store, "a", f"d{number}")) for number in range(50)]
        await asyncio.wait(adding, return_when=asyncio.FIRST_COMPLETED)

    assert all(isinstance(task.exception(), StoreError | None) for task in adding if task.done())
    await asyncio.gather(*adding, return_exceptions=True)
    acknowledged = sum(task.exception() is None for task in adding)
    async with opened(url) as store:
        assert sum((await store.unfinished()).values()) == acknowledged > 0
