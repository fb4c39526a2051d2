"""Manifests judged by several processes are what they are by one, whatever becomes of the others."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from manifest_text import manifest

from reconciler.manifest.judged import FileJudge
from reconciler.manifest.load import Manifests, load_manifests
from reconciler.manifest.share import SHARE_MIN_BYTES, judge_files
from reconciler.manifest.verdict import Ground, Judged

FILES = {f"{number:02}.yaml": manifest(name=f"hook-{number}").encode() for number in range(20)}
SIZES = {file: len(raw) for file, raw in FILES.items()}

OLD_PROJECT = """apiVersion: reconciler/v1
kind: Project
spec: {defaults: {body_template: "{{data.grantee.id}}", content_type: text/plain}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sound and faulty files of different sizes, with a project whose defaults are warned of."""
    texts = [manifest(name=f"hook-{number}", metadata=f"title: {'x' * 97 * number}") for number in range(12)]
    texts += [manifest("timeout_in_sec: 99"), manifest('body_template: {a: "{{data.typo}}"}'), "a: [", "\x00", ""]
    texts += [manifest(name="hook-3"), manifest(name="one") + "---\n" + manifest("headers: {x: y z\n}", name="two")]
    texts += [OLD_PROJECT]
    texts += ["apiVersion: reconciler/v1\nkind: WebhookTest\nmetadata: {name: t}\nspec: {}\n"]
    for number, text in enumerate(texts):
        (tmp_path / f"{number * 7 % 23:02}.yaml").write_text(text)
    (tmp_path / "latin.yaml").write_bytes(b"title: \xe4")
    return tmp_path


def told(found: Manifests) -> object:
    return found.problems, found.digest, found.webhooks, found.outlines, [test.document for test in found.tests]


@pytest.mark.parametrize("workers", [2, 3, 7, 40])
def test_any_number_of_processes_says_the_same(folder: Path, workers: int) -> None:
    """More processes than files included."""
    alone = load_manifests([folder], workers=1)

    shared = load_manifests([folder], workers=workers)

    assert told(shared) == told(alone)
    assert len(alone.problems) > 8
    assert len(alone.webhooks) > 12


def no_children() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return True


class Failing(FileJudge):
    """Does what it is told to, if it is not the process of the test, or if it is; each judges nothing before the other
    has begun to, so that both have something."""

    def __init__(self, deed: Callable[[], object], *, here: bool = False) -> None:
        super().__init__(Ground({}))
        self.deed = deed
        self.here = here
        self.pid = os.getpid()
        self.is_begun = multiprocessing.Event()
        self.is_begun_here = multiprocessing.Event()

    def judge(self, files: Sequence[tuple[str, bytes]]) -> list[Judged]:
        is_here = os.getpid() == self.pid
        begun, other = (self.is_begun_here, self.is_begun) if is_here else (self.is_begun, self.is_begun_here)
        begun.set()
        assert other.wait(timeout=10)
        if is_here is self.here:
            self.deed()
        return super().judge(files)


def fail() -> None:
    raise RuntimeError("in a forked process")


@pytest.mark.parametrize("deed", [fail, lambda: os._exit(0), lambda: os._exit(7), lambda: os.kill(os.getpid(), 9)])
def test_what_a_process_fails_to_judge_is_judged_here(deed: Callable[[], object], capfd: pytest.CaptureFixture) -> None:
    expected = judge_files(FileJudge(Ground({})), FILES, SIZES, workers=1)

    assert judge_files(Failing(deed), FILES, SIZES, workers=3) == expected
    assert capfd.readouterr() == ("", "")
    assert no_children()


def test_an_interruption_leaves_no_process_and_no_pipe_behind() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    failing = Failing(interrupted, here=True)
    open_files = len(os.listdir("/proc/self/fd"))

    with pytest.raises(KeyboardInterrupt):
        judge_files(failing, FILES, SIZES, workers=3)

    assert no_children()
    assert len(os.listdir("/proc/self/fd")) == open_files


def test_small_sets_are_judged_by_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fork", lambda: fail())
    assert sum(SIZES.values()) < SHARE_MIN_BYTES

    assert len(judge_files(FileJudge(Ground({})), FILES, SIZES)) == len(FILES)


def test_where_no_process_can_be_forked_one_judges_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on processes is no reason to fail."""
    alone = load_manifests([folder], workers=1)

    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)

    assert told(load_manifests([folder], workers=3)) == told(alone)
