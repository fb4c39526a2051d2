"""With a cache, whatever is in it, manifests are what they are without one: a law over edits, and what the cache is."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_text import manifest

from reconciler.manifest import cache as cache_module
from reconciler.manifest import memory, share
from reconciler.manifest.cache import Cache
from reconciler.manifest.judged import FileJudge
from reconciler.manifest.load import Manifests, load_manifests

PADDING = "# worth remembering: " + "." * memory.MIN_BYTES + "\n"
PROJECT = "apiVersion: reconciler/v1\nkind: Project\nspec: {defaults: {%s}}\n"
OLD_FIELD = 'body_template: "{{data.grantee.id}}"\ncontent_type: text/plain'  # a warning: older payloads lack it

CONTENTS = (
    manifest(name="alpha"),
    manifest("timeout_in_sec: ${var:seconds}", name="alpha"),
    manifest(OLD_FIELD, name="beta", metadata="renamed_from: alpha"),
    manifest(name="gamma") + "---\n" + manifest(OLD_FIELD, name="delta"),
    manifest("timeout_in_sec: 99", name="epsilon"),
    manifest(name="beta", url="https://${var:host}.example.com/in"),
    PROJECT % "timeout_in_sec: 20",
    PROJECT % 'content_type: text/plain, body_template: "{{data.grantee.id}} of ${var:host}"',
    PROJECT % "timeout: 20",
    'apiVersion: reconciler/v1\nkind: "\\x50roject"\nspec: {owner: iam}\n',
    "kind: ${var:host}\napiVersion: reconciler/v1\nspec: {owner: iam}\n",
    "apiVersion: reconciler/v1\nkind: WebhookTest\nmetadata: {name: t}\nspec: {event: {a: 1}}\n",
    "a: [\n",
    "",
)
NAMES = ("a.yaml", "b.yaml", "c/d.yml", "c/e.yaml")
VARIABLES = ({"seconds": "5", "host": "h"}, {"seconds": "6", "host": "Project"}, {"host": "h"})

edits = st.tuples(st.sampled_from(NAMES), st.none() | st.sampled_from(CONTENTS))
steps = st.tuples(st.lists(edits, max_size=3), st.sampled_from(VARIABLES), st.booleans())


def told(found: Manifests) -> dict[str, Any]:
    """Everything that a set of manifests says."""
    return {
        "problems": found.problems,
        "webhooks": [(hook.name, hook.renamed_from, hook.digest(), hook.canonical()) for hook in found.webhooks],
        "opened": found.webhooks,
        "project": (found.project, found.project_source),
        "tests": [(test.file, test.line, test.document) for test in found.tests],
        "outlines": found.outlines,
        "sources": found.sources,
        "digest": found.digest,
        "files": found.files,
    }


@settings(max_examples=60)
@given(st.lists(steps, min_size=2, max_size=6))
def test_a_set_is_the_same_with_a_cache_and_without(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[list[tuple[str, str | None]], dict[str, str], bool]]
) -> None:
    """Through edits, deletions, files under other names, other variables, projects that come and go, and errors."""
    folder, kept = tmp_path_factory.mktemp("set"), Cache(tmp_path_factory.mktemp("cache"))
    (folder / "padding.yaml").write_text(PADDING)
    for changes, variables, rehearse in history:
        for name, content in changes:
            file = folder / name
            if content is None:
                file.unlink(missing_ok=True)
            else:
                file.parent.mkdir(exist_ok=True)
                file.write_text(content)

        cold = load_manifests([folder], variables=variables, rehearse=rehearse)
        warm = load_manifests([folder], variables=variables, rehearse=rehearse, cache=kept)

        assert told(warm) == told(cold)


@pytest.fixture
def room(tmp_path: Path) -> "Room":
    """Two manifests and an empty cache."""
    return Room(tmp_path)


class Room:
    """A set of manifests with its cache."""

    def __init__(self, folder: Path) -> None:
        self.set = folder / "set"
        self.folder = folder / "cache"
        self.set.mkdir()
        self.write("a.yaml", PADDING + manifest(OLD_FIELD, name="alpha", url="https://hooks.example.com/confidential"))
        self.write("b.yaml", manifest(name="beta"))

    def write(self, name: str, text: str) -> None:
        (self.set / name).write_text(text)

    def load(self) -> Manifests:
        return load_manifests([self.set], cache=Cache(self.folder))

    def entry(self) -> Path:
        (entry,) = self.folder.iterdir()
        return entry

    def is_sound(self) -> bool:
        """Whether the set is what it is without a cache."""
        return told(self.load()) == told(load_manifests([self.set]))


def is_used(room: Room, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a load finds all its verdicts in the cache."""
    with monkeypatch.context() as patch:
        judged = judgings(patch)
        room.load()
    return not judged


def judgings(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The files that are judged together from now on."""
    judged: list[list[str]] = []
    start = share.Judging.start

    def noted(judge: FileJudge, raws: Mapping[str, bytes], sizes: Mapping[str, int], **how: Any) -> share.Judging:
        judged.append(list(sizes))
        return start(judge, raws, sizes, **how)

    monkeypatch.setattr(share.Judging, "start", noted)
    return judged


def test_what_was_judged_is_not_judged_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_used(room, monkeypatch)
    assert is_used(room, monkeypatch)

    (room.set / "b.yaml").rename(room.set / "c.yaml")
    assert is_used(room, monkeypatch)

    room.write("c.yaml", manifest("timeout_in_sec: 3", name="beta"))
    assert not is_used(room, monkeypatch)
    assert is_used(room, monkeypatch)


def test_remembered_webhooks_are_read_once_each_and_at_once_when_all_are_asked_for(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few one by one; then it is plain that an apply of all is under way. Each was read eight times before."""
    for number in range(64):
        room.write(f"{number}.yaml", manifest(f"timeout_in_sec: {number + 1}", name=f"hook-{number}"))
    expected = [hook.canonical() for hook in room.load().webhooks]
    calls = judgings(monkeypatch)

    webhooks = room.load().webhooks
    assert calls == []
    assert [hook.canonical() for hook in webhooks] == expected
    assert [hook.document() for hook in webhooks] == [hook.document() for hook in load_manifests([room.set]).webhooks]

    read = list(chain.from_iterable(calls[:-1]))  # the last call is that of the set without a cache
    assert len(read) == len(set(read)) == 66
    assert [len(call) for call in calls[:-1]][:-1] == [1] * (len(calls) - 2)
    assert len(calls[-2]) > 50


def test_the_cache_is_for_its_user_only_and_holds_no_text_of_a_manifest(room: Room) -> None:
    room.load()

    assert stat.S_IMODE(room.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(room.entry().stat().st_mode) == 0o600
    assert b"confidential" not in room.entry().read_bytes()


def test_folders_above_the_cache_are_the_users_too(tmp_path: Path) -> None:
    """Where `~/.cache` is missing it is made as its specification says, whatever the umask is."""
    old = os.umask(0)
    try:
        Cache(tmp_path / ".cache" / "reconciler").write("0" * 64, b"what may be lost")
    finally:
        os.umask(old)

    made = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in made} == {".cache": 0o700, "reconciler": 0o700}


def test_a_file_with_an_error_is_not_remembered(room: Room) -> None:
    """What it says may be quoted in the error, and ought not to be there."""
    room.write("b.yaml", manifest("title: s3cr3t-by-mistake", name="beta"))

    room.load()

    assert b"beta" not in room.entry().read_bytes()
    assert b"mistake" not in room.entry().read_bytes()


def damaged(entry: Path) -> dict[str, Callable[[], object]]:
    """Ways in which an entry goes bad."""
    raw = entry.read_bytes()
    head, _, body = raw.partition(b"\n")
    return {
        "cut off": lambda: entry.write_bytes(raw[:-1]),
        "a bit flipped": lambda: entry.write_bytes(raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:]),
        "empty": lambda: entry.write_bytes(b""),
        "another set's": lambda: entry.write_bytes(head.replace(b"reconciler ", b"reconciler 0") + b"\n" + body),
        "another format": lambda: forged(entry, b'{"rows": 1}'),
        "no rows": lambda: forged(entry, b'["", 7]'),
        "rows of another shape": lambda: forged(entry, body.replace(b"Webhook", b'",7,"')),
        "no JSON": lambda: forged(entry, b"\xff\xfe"),
        "writable by others": lambda: entry.chmod(0o620),
        "a folder": lambda: (entry.unlink(), entry.mkdir()),
        "a link": lambda: (entry.rename(entry.with_name("real")), entry.symlink_to(entry.with_name("real"))),
        "a pipe": lambda: (entry.unlink(), os.mkfifo(entry)),
    }


def forged(entry: Path, body: bytes) -> None:
    """An entry whose head is right and whose body is not ours."""
    _, key, _ = entry.read_bytes().partition(b"\n")[0].split(b" ")
    entry.write_bytes(cache_module._head(key.decode(), body) + b"\n" + body)


WAYS = ("cut off", "a bit flipped", "empty", "another set's", "another format", "no rows", "rows of another shape")
WAYS += ("no JSON", "writable by others", "a folder", "a link", "a pipe")


@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_ours_or_not_whole_counts_as_not_there(
    room: Room, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.load()

    damaged(room.entry())[way]()

    assert not is_used(room, monkeypatch)
    assert room.is_sound()


def test_every_way_of_going_bad_is_tested(room: Room) -> None:
    room.load()

    assert set(damaged(room.entry())) == set(WAYS)


def test_a_verdict_of_another_version_is_not_trusted(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.load()
    monkeypatch.setattr(memory, "_program", lambda: "0" * 64)

    assert not is_used(room, monkeypatch)


def test_the_version_is_that_of_all_code_that_judges(tmp_path: Path) -> None:
    """Every module of ours that a load imports, rehearsals included, belongs to what the version is made of."""
    (tmp_path / "a.yaml").write_text(manifest('body_template: {a: "{{data.id}}"}\nheaders: {x-a: "${secret:a}"}'))
    code = """if True:
        import sys
        from pathlib import Path
        from reconciler.manifest import memory, share
        from reconciler.manifest.load import load_manifests

        assert load_manifests([Path(".")], rehearse=True).is_valid
        ours = {Path(module.__file__) for name, module in sys.modules.items() if name.split(".")[0] == "reconciler"}
        print(sorted(map(str, ours - set(memory.program_files()))))
    """

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("kind", ["read-only", "a file in its place", "no such device"])
def test_a_cache_that_cannot_be_written_is_no_error(room: Room, kind: str) -> None:
    if kind == "read-only":
        room.folder.mkdir(mode=0o500)
    elif kind == "a file in its place":
        room.folder.write_text("")
    else:
        room.folder = Path("/proc/none/reconciler")

    assert room.is_sound()
    assert room.is_sound()


def test_the_folder_keeps_its_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By number and by size, what was used last staying; half-written files of a killed process go like any other."""
    monkeypatch.setattr(cache_module, "FOLDER_MAX_ENTRIES", 3)
    monkeypatch.setattr(cache_module, "FOLDER_MAX_BYTES", 1000)
    monkeypatch.setattr(cache_module, "ENTRY_MAX_BYTES", 600)
    kept = Cache(tmp_path)
    keys = [f"{number:064x}"[::-1] for number in range(1, 9)]
    (tmp_path / ".manifests-left").write_bytes(b"half")
    os.utime(tmp_path / ".manifests-left", (1, 1))
    (tmp_path / "another program's").write_bytes(b"stays")

    for number, key in enumerate(keys[:5]):
        kept.write(key, b"x" * 50)
        os.utime(kept._path(key), (100 + number, 100 + number))
    kept.write(keys[6], b"x" * 601)

    assert [kept.read(key) is not None for key in keys[:5]] == [False, False, True, True, True]
    assert kept.read(keys[6]) is None
    assert sorted(path.name for path in tmp_path.iterdir() if "manifests" not in path.name) == ["another program's"]
    assert not (tmp_path / ".manifests-left").exists()

    kept.write(keys[7], b"y" * 600)
    kept.write(keys[6], b"y" * 300)
    assert sum(path.stat().st_size for path in tmp_path.glob("manifests-*")) <= 1000


def test_small_sets_and_bindings_are_not_remembered(room: Room) -> None:
    room.write("a.yaml", manifest(name="alpha"))
    room.load()
    room.write("a.yaml", PADDING + manifest(name="alpha"))
    load_manifests([room.set], cache=Cache(room.folder), bindings={})

    assert not room.folder.exists()


@pytest.mark.parametrize("output_format", ["text", "json", "markdown"])
def test_a_plan_is_the_same_bytes_from_a_warm_cache(
    reconciler: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, output_format: str
) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text(PADDING + manifest(OLD_FIELD, name="alpha"))
    (folder / "b.yaml").write_text(manifest("headers: {x-b: '2', X-A: '1'}", name="beta"))
    reconciler("apply", "--auto-approve")
    (folder / "b.yaml").write_text(manifest("headers: {x-b: '3', X-A: '1'}", name="beta"))
    (folder / "c.yaml").write_text(manifest("headers: {x-b: '2', X-A: '1'}", name="gamma"))

    none = {"XDG_CACHE_HOME": "/proc/none"}
    runs = [
        reconciler("plan", "--format", output_format, "--detailed-exitcode", code=2, env=env)
        for env in (none, {}, {}, none)
    ]

    assert len({(run.stdout, run.stderr) for run in runs}) == 1
    assert "gamma" in runs[0].stdout


@pytest.mark.parametrize("output_format", ["text", "json", "markdown"])
def test_a_plan_is_the_same_bytes_by_one_process_and_by_several(tmp_path: Path, output_format: str) -> None:
    """As many as there are processors, each with more manifests than are worth a process."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    for number in range(4):
        padding = f"# {'.' * share.SHARE_MIN_BYTES}\n"
        text = manifest(OLD_FIELD, name=f"hook-{number}") + "---\n" + manifest(name=f"other-{number}")
        (folder / f"{number}.yaml").write_text(padding + text)
    code = "import os\nos.sched_setaffinity(0, {cpus})\nfrom reconciler.cli.main import main\nmain()\n"
    processors = os.sched_getaffinity(0)

    def plan(cpus: set[int]) -> subprocess.CompletedProcess[bytes]:
        args = [sys.executable, "-c", code.format(cpus=cpus), "plan", "--format", output_format]
        env = {**os.environ, "XDG_CACHE_HOME": "/proc/none"}
        return subprocess.run(args, cwd=tmp_path, env=env, capture_output=True, check=True)

    alone, together = plan({min(processors)}), plan(processors)

    assert (alone.stdout, alone.stderr) == (together.stdout, together.stderr)
    assert b"hook-3" in alone.stdout


def test_a_home_that_is_not_there_is_no_error(
    reconciler: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "a.yaml").write_text(PADDING + manifest(name="alpha"))

    for home in ("", "relative", "/proc/none", str(tmp_path / "home")):
        reconciler("validate", env={"XDG_CACHE_HOME": "relative", "HOME": home})

    made = sorted(str(path.relative_to(tmp_path)) for path in chain(tmp_path.iterdir(), (tmp_path / "home").rglob("*")))
    assert [path for path in made if "manifests" not in path] == ["home", "home/.cache", "home/.cache/reconciler"]
