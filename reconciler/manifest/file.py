"""Which files are manifests, and their text: the only place of this package that touches a disk for them.

Called by `manifest.load` and by commands that write manifests. Whatever is wrong with a path is a problem, never an
exception.
"""

import errno
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

from reconciler.errors import Problem, Severity

FILE_MAX_BYTES: Final = 64 * 1024 * 1024  # about four times ten thousand webhooks
CHUNK_BYTES: Final = 16 * 1024  # of a file at first, which is nearly always all of it
REST_BYTES: Final = 1024 * 1024  # of these at once
SUFFIXES: Final = (".yaml", ".yml")

_Identity = tuple[int, int]  # device and inode
_MANIFEST: Final = re.compile(rb"""apiVersion["']?\s*:\s*["']?reconciler/""")


def find_files(paths: Sequence[Path]) -> tuple[list[str], list[Problem]]:
    """The manifest files under `paths`, sorted, each once, and a problem for each path that cannot be followed.

    Folders are searched for `*.yaml` and `*.yml` in depth, links followed, hidden names passed over; a file that is
    named is taken whatever its name. What a link finds outside of the paths must be a manifest: a pull request could
    name any file, and what is wrong with it would be quoted.
    """
    search = Search.of(paths)
    return search.names, search.problems


@dataclass(slots=True)
class Search:
    """What was found so far. Every folder is entered once, however many links lead to it, back up included. `special`
    are the files that are no regular ones, `roots` the paths that the caller named, but for those that are links."""

    files: dict[_Identity, str] = field(default_factory=dict)
    folders: set[_Identity] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    special: set[str] = field(default_factory=set)
    roots: tuple[Path, ...] = ()

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Self:
        """All that is found under `paths`."""
        search = cls(roots=tuple([Path(os.path.realpath(path)) for path in paths if not _has_link(path)]))
        for path in paths:
            search._start(path)
        return search

    @property
    def names(self) -> list[str]:
        """The files, sorted."""
        return sorted(self.files.values())

    def _start(self, path: Path) -> None:
        """Take a file, or search a folder, that the caller named."""
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            hint = "give a manifest file or a folder of them"
            self._report("file.missing", path, f"there is no such file or folder: {path}", hint)
        except OSError as exc:
            self.problems.append(_unreadable(str(path), exc))
        else:
            self._enter(str(path), status, is_outside=self._is_outside(str(path)))

    def _enter(self, path: str, status: os.stat_result, *, is_outside: bool = False) -> None:
        identity = (status.st_dev, status.st_ino)
        if not stat.S_ISDIR(status.st_mode):
            if is_outside and stat.S_ISREG(status.st_mode) and not self._is_manifest(path):
                return
            self._take(path, identity)
            if not stat.S_ISREG(status.st_mode):
                self.special.add(path)
        elif identity not in self.folders:
            self.folders.add(identity)
            self._search(path, status.st_dev, is_outside=is_outside)

    def _is_outside(self, path: str) -> bool:
        """Whether what this leads to lies under none of the paths that the caller named."""
        target = Path(os.path.realpath(path))
        return not any(target.is_relative_to(root) for root in self.roots)

    def _is_manifest(self, path: str) -> bool:
        """Whether a file says that it is a manifest; a problem that tells nothing of it where it does not."""
        raw, problem = read_bytes(path)
        if problem is None and not _MANIFEST.search(raw):
            hint = "name what the link leads to as a PATH"
            self._report("file.outside", Path(path), "a link leads out of the PATHs to what is no manifest", hint)
            return False
        return True

    def _take(self, path: str, identity: _Identity) -> None:
        if identity not in self.files or path < self.files[identity]:
            self.files[identity] = path  # under its least name, whatever the order of PATHs

    def _search(self, folder: str, device: int, *, is_outside: bool) -> None:
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as exc:
            self.problems.append(_unreadable(folder, exc))
            return
        for entry in entries:
            is_manifest = entry.name.endswith(SUFFIXES)
            if entry.name.startswith("."):
                continue
            path = entry.name if folder == "." else entry.path
            try:
                if is_manifest and not is_outside and entry.is_file(follow_symlinks=False):
                    self._take(path, (device, entry.inode()))  # the folder says so much; thousands need no stat
                elif is_manifest or entry.is_dir():
                    leads_out = self._is_outside(path) if entry.is_symlink() else is_outside
                    self._enter(path, entry.stat(), is_outside=leads_out)
            except OSError as exc:
                if is_manifest:
                    self.problems.append(_unreadable(path, exc))

    def _report(self, code: str, path: Path, message: str, hint: str) -> None:
        self.problems.append(Problem(Severity.ERROR, code, message, file=str(path), hint=hint))


def _has_link(path: Path) -> bool:
    """Whether a path leads over a link: in a checkout, anybody who may propose a change can have made that."""
    home = os.path.realpath(".")
    return os.path.normpath(Path(home, path)) != os.path.realpath(path)


def read_text(file: str) -> tuple[str, Problem | None]:
    """The file's text, line ends as line feeds, or the problem with it."""
    raw, problem = read_bytes(file)
    return ("", problem) if problem is not None else decode(file, raw)


def read_bytes(file: str, *, is_regular: bool = False) -> tuple[bytes, Problem | None]:
    """The file as it is, or the problem with it. `is_regular`: the file was found to be a regular one, which of
    thousands is worth not asking twice."""
    try:
        # what waits for a writer is not waited for: it is no file of manifests
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not is_regular and not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return b"", Problem(Severity.ERROR, "file.unreadable", f"not a regular file: {file}", file=file)
            raw = os.read(descriptor, CHUNK_BYTES)
            if more := os.read(descriptor, CHUNK_BYTES):  # until nothing comes: not every file says its size
                raw = _read_rest(descriptor, raw, more)
        finally:
            os.close(descriptor)
    except OSError as exc:
        return b"", _unreadable(file, exc)
    return raw, None


def _read_rest(descriptor: int, *read: bytes) -> bytes:
    """All that was read and can be read after it; hardly more than FILE_MAX_BYTES."""
    parts, size = list(read), sum(map(len, read))
    while parts[-1] and size <= FILE_MAX_BYTES:
        parts.append(os.read(descriptor, REST_BYTES))
        size += len(parts[-1])
    return b"".join(parts)


def decode(file: str, raw: bytes) -> tuple[str, Problem | None]:
    """The text of a file's bytes, line ends as line feeds and without a byte order mark, or the problem with it."""
    if len(raw) > FILE_MAX_BYTES:
        message = f"the file is larger than {FILE_MAX_BYTES // 1024 // 1024} MiB"
        return "", Problem(Severity.ERROR, "file.too_large", message, file=file, hint="spread it over several files")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        return "", _bad_encoding(file, raw, exc)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text, None


def write_text(file: Path, text: str) -> Problem | None:
    """Replace the file by the text in one step: whoever reads it meanwhile, or after a crash, sees the old text or the
    new one. Keeps the file's mode and owner; of a link, what it leads to is replaced."""
    target = Path(os.path.realpath(file))
    try:
        status = target.stat()
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        _replace(target, text.encode(), status)
    except OSError as exc:
        return _unwritable(file, exc)
    return None


def _replace(target: Path, raw: bytes, status: os.stat_result) -> None:
    import tempfile  # the commands that only read have no use for it

    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(raw)
            stream.flush()
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                with suppress(PermissionError):  # only root gives files away
                    os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            os.fsync(descriptor)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _unreadable(path: str, exc: OSError) -> Problem:
    reason = (exc.strerror or type(exc).__name__).lower()
    return Problem(Severity.ERROR, "file.unreadable", f"cannot be read: {reason}", file=path)


def _unwritable(path: Path, exc: OSError) -> Problem:
    reason = (exc.strerror or type(exc).__name__).lower()
    return Problem(Severity.ERROR, "file.unwritable", f"cannot be written: {reason}", file=str(path))


def _bad_encoding(file: str, raw: bytes, exc: UnicodeDecodeError) -> Problem:
    before = raw[: exc.start].decode("utf-8-sig", "replace")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    problem = Problem(Severity.ERROR, "file.encoding", f"not UTF-8: byte 0x{raw[exc.start]:02x}", file=file)
    return replace(problem, line=line, column=column, end_line=line, end_column=column + 1, hint="save it as UTF-8")
