"""A YAML file of the operator's, read strictly: bounded, every problem with its place, and never a value quoted.

Called by `egress.secrets` (the binding file) and `web.token` (the tokens file), which know what may stand in it. What
is read here may be a secret that somebody put into the wrong place, so messages name keys and places only.
"""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from reconciler.errors import Problem, Severity

FILE_MAX_BYTES: Final = 1024 * 1024
OTHERS_READ: Final = 0o044  # the permission bits by which anybody else reads a file
OTHERS_WRITE: Final = 0o022  # and changes it: where secrets go, and who may do what
GROUP_READS: Final = 0o040
READS_MAX: Final = 3  # of a file that changes meanwhile
KEY_SHOWN_CHARACTERS: Final = 31  # no token is that short

Signature = tuple[int, int, int, int] | None

_Loader: Final[type[Any]] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class OperatorFile:
    """One pass over a file, which collects problems instead of stopping; their codes begin with `prefix`, their texts
    call the file by `kind`."""

    def __init__(self, path: Path, *, prefix: str, kind: str) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self._prefix = prefix
        self._kind = kind

    def add(self, code: str, message: str, *, path: str = "", mark: Any = None, hint: str = "") -> None:
        """One more error; `mark` is where it stands, `path` leads to it inside the file."""
        self.problems.append(
            Problem(
                Severity.ERROR,
                code,
                message,
                path=path,
                file=str(self.path),
                line=mark.line + 1 if mark else None,
                column=mark.column + 1 if mark else None,
                hint=hint,
            )
        )

    def root(self) -> yaml.Node | None:
        """The node that the file holds; None where it is empty or a problem says why there is none."""
        try:
            raw, status = read_whole(self.path, max_bytes=FILE_MAX_BYTES)
        except OSError as exc:
            reason = (exc.strerror or str(exc)).lower()
            self.add(f"{self._prefix}-unreadable", f"the {self._kind} cannot be read: {reason}")
            return None
        if len(raw) > FILE_MAX_BYTES:
            self.add(f"{self._prefix}-size", f"the {self._kind} is larger than {FILE_MAX_BYTES // 1024} KiB")
            return None
        if deeds := deeds_of_others(status):
            fact = f"the {self._kind} may be {deeds} by others: mode {stat.S_IMODE(status.st_mode):04o}"
            self._warn(fact, f"chmod 600 {self.path}")
        return self._compose(raw)

    def entries(self, node: yaml.Node, path: str) -> Iterator[tuple[yaml.Node, str, yaml.Node]]:
        """The (key node, key, value node) of a mapping; what is no mapping, key or repeats a key is reported."""
        if not isinstance(node, yaml.MappingNode):
            self.add(f"{self._prefix}-type", f"{path or 'the file'} must be a mapping", path=path, mark=node.start_mark)
            return
        seen: set[str] = set()
        for key, value in node.value:
            if not is_text(key):
                self.add(f"{self._prefix}-type", "a key must be text", path=path, mark=key.start_mark)
            elif key.value in seen:
                self.add("duplicate-key", f"duplicate key: {shown(key.value)}", path=path, mark=key.start_mark)
            else:
                seen.add(key.value)
                yield key, key.value, value

    def _warn(self, message: str, hint: str) -> None:
        code = f"{self._prefix}-mode"
        self.problems.append(Problem(Severity.WARNING, code, message, file=str(self.path), hint=hint))

    def _compose(self, raw: bytes) -> yaml.Node | None:
        try:
            root: yaml.Node | None = yaml.compose(raw.decode("utf-8"), Loader=_Loader)
        except UnicodeDecodeError as exc:
            self.add(f"{self._prefix}-encoding", f"the {self._kind} is not UTF-8: byte {exc.start}")
        except (yaml.YAMLError, RecursionError) as exc:
            # only the parser's own words: its context may quote the file
            mark = getattr(exc, "problem_mark", None)
            self.add(f"{self._prefix}-yaml", f"not YAML: {_problem_of(exc)}", mark=mark)
        else:
            return root
        return None


def read_whole(path: Path, *, max_bytes: int) -> tuple[bytes, os.stat_result]:
    """A file as it was at one moment, with one byte more than `max_bytes` if it is longer, and its status.

    Links are followed, as secrets are mounted by links. Raises OSError, also for what is no file: a pipe or a device
    could keep the reader waiting for ever; and for a file that is written all the time.
    """
    for _ in range(READS_MAX):
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY), "rb") as file:
            before = os.fstat(file.fileno())
            if stat.S_ISDIR(before.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            raw = file.read(max_bytes + 1)
            after = os.fstat(file.fileno())
        if _state_of(before) == _state_of(after):
            return raw, after
    raise OSError(errno.EAGAIN, "it was changed while it was read", str(path))


def deeds_of_others(status: os.stat_result) -> str:
    """What others may do with a file of the operator's: "read", "changed", both in words, or nothing. The daemon's
    group may read what root owns: that is how root hands a file to a daemon (PostgreSQL's rule for keys)."""
    is_handed_over = status.st_uid == 0 and os.geteuid() != 0
    may_read = OTHERS_READ & ~GROUP_READS if is_handed_over else OTHERS_READ
    deeds = (("read", may_read), ("changed", OTHERS_WRITE))
    return " and ".join(deed for deed, bits in deeds if status.st_mode & bits)


def is_text(node: yaml.Node) -> bool:
    """Whether a node is a scalar that YAML takes for text."""
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str"


def shown(text: str) -> str:
    """A key for a message, in ASCII; of what is long enough to be a secret in the wrong place, only the beginning."""
    return ascii(text if len(text) <= KEY_SHOWN_CHARACTERS else f"{text[:8]}...")[1:-1]


def signature(path: Path) -> Signature:
    """What changes whenever a file is written or replaced; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return _state_of(found)


def _state_of(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _problem_of(exc: Exception) -> str:
    return str(getattr(exc, "problem", None) or getattr(exc, "reason", None) or "nested too deeply")
