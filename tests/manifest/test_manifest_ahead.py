"""Files read by another process while a command is imported are what they are when the command reads them itself."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from manifest_text import manifest

from reconciler.manifest import ahead as ahead_module
from reconciler.manifest import file as file_module
from reconciler.manifest.ahead import Ahead, Read
from reconciler.manifest.load import load_manifests

LARGE = "# " + "x" * (3 * file_module.CHUNK_BYTES) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of all sizes, links, a pipe, and what cannot be read."""
    found = tmp_path / "found"
    found.mkdir()
    for number, text in enumerate(["", "a", LARGE, LARGE + manifest(name="large"), manifest(name="small")]):
        (found / f"{number}.yaml").write_text(text)
    (found / "link.yaml").symlink_to(found / "4.yaml")
    (found / "dangling.yaml").symlink_to(tmp_path / "none")
    (found / "locked.yaml").symlink_to("/proc/self/mem")
    os.mkfifo(found / "pipe.yaml")
    (found / "latin.yaml").write_bytes(b"title: \xe4")
    return found


def read_here(folder: Path) -> Read:
    with Ahead.begin([folder, folder / "none"]) as ahead:
        assert ahead.part is None
        return ahead.read()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few files there are, another process reads them."""
    monkeypatch.setattr(ahead_module, "FILES_MIN", 1)
    monkeypatch.setattr("reconciler.fork.WRITTEN_BYTES", 10)
    monkeypatch.setattr(ahead_module, "processors", lambda: 2)


def told(read: Read) -> object:
    return dict(read.raws), list(read.raws), read.keys, read.sizes, sorted(read.problems, key=str), read.count


def no_children() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return True


def test_files_are_what_they_hold(folder: Path) -> None:
    read = read_here(folder)

    assert read.raws[str(folder / "3.yaml")] == (LARGE + manifest(name="large")).encode()
    assert list(read.keys) == sorted(read.keys) == list(read.raws) == list(read.sizes)
    for file, raw in read.raws.items():
        assert raw == Path(file).read_bytes()
        assert (read.keys[file], read.sizes[file]) == (hashlib.sha256(raw).hexdigest(), len(raw))
    assert sorted(problem.message.partition(":")[0] for problem in read.problems) == [
        "cannot be read",
        "cannot be read",
        "not a regular file",
        "there is no such file or folder",
    ]
    assert read.count == len(read.raws) + 2


@pytest.mark.usefixtures("elsewhere")
def test_another_process_reads_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ahead.begin([folder, folder / "none"]) as ahead:
        assert ahead.part is not None
        read = ahead.read()
        monkeypatch.undo()

        assert told(read) == told(read_here(folder))
    assert read.raws[str(folder / "0.yaml")] == b""
    with pytest.raises(KeyError):
        read.raws["none.yaml"]
    assert no_children()


@pytest.mark.usefixtures("elsewhere")
def test_what_was_read_stays_what_it_was(folder: Path) -> None:
    """A set is judged as it was when it was read, whatever becomes of its files while it is looked into."""
    before = load_manifests([folder]).webhooks
    expected = [webhook.canonical() for webhook in load_manifests([folder]).webhooks]

    for number in (3, 4):
        (folder / f"{number}.yaml").write_text("gone")

    assert [webhook.canonical() for webhook in before] == expected
    assert [webhook.name for webhook in before] == ["large", "small"]


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("deed", [lambda: os._exit(0), lambda: os._exit(7), lambda: os.kill(os.getpid(), 9)])
def test_what_another_process_fails_to_read_is_read_here(
    folder: Path, deed: Callable[[], object], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pid, read_bytes = os.getpid(), file_module.read_bytes

    def failing(name: str, *, is_regular: bool = False) -> object:
        if os.getpid() != pid and name.endswith("4.yaml"):
            deed()
        return read_bytes(name, is_regular=is_regular)

    monkeypatch.setattr(ahead_module, "read_bytes", failing)
    with Ahead.begin([folder]) as ahead:
        read = ahead.read()
    monkeypatch.undo()

    with Ahead.begin([folder]) as ahead:
        assert told(read) == told(ahead.read())
    assert capfd.readouterr() == ("", "")
    assert no_children()


@pytest.mark.usefixtures("elsewhere")
def test_a_command_that_ends_early_leaves_no_process_and_no_file_behind(folder: Path) -> None:
    open_files = len(os.listdir("/proc/self/fd"))

    with pytest.raises(KeyboardInterrupt), Ahead.begin([folder]):
        raise KeyboardInterrupt

    assert no_children()
    assert len(os.listdir("/proc/self/fd")) == open_files


def test_few_files_are_read_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise AssertionError("forked")

    monkeypatch.setattr(os, "fork", refuse)

    assert read_here(folder).count > 5


def test_a_file_that_has_become_a_pipe_since_it_was_found_is_not_waited_for(folder: Path) -> None:
    with Ahead.begin([folder]) as ahead:
        (folder / "4.yaml").unlink()
        os.mkfifo(folder / "4.yaml")

        read = ahead.read()

    assert read.raws[str(folder / "4.yaml")] == b""


def test_ahead_of_a_plan_nothing_heavy_is_imported() -> None:
    """It is begun before all that a command needs."""

    code = """if True:
        import sys, reconciler.cli.plan
        print(sorted({"asyncio", "pydantic", "orjson", "yaml", "apsw"} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("[]\n", "")
