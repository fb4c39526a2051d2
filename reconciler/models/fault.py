"""A problem found in a value, before its position in a file is known, and paths as people read them. Pure.

Made by `models.rule` and `models.url`; `manifest` finds the position and makes a `Problem` of it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from reconciler.errors import Severity

Path = tuple[str | int, ...]

# of spec: where references may stand
SECRET_FIELDS: Final = ("url", "query", "headers", "auth", "tls", "signing", "body_template", "partials")

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem found in a value, before its position in a file is known.

    `path` leads to it inside the document; with `on_key` the key is at fault, not what it holds. `line`, `column` and
    `end_column` count from 1 inside the text at `path`, where the fault is in a part of it.
    """

    code: str
    path: Path
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    on_key: bool = False
    line: int | None = None
    column: int | None = None
    end_column: int | None = None


Faults = Iterator[Fault]


def show(path: Path) -> str:
    """A path for people, without the leading `spec` or `metadata`: `retry.schedule[0]`."""
    return join_path(path[1:] if len(path) > 1 and path[0] in ("spec", "metadata") else path)


def join_path(path: Path) -> str:
    """`spec.headers.x-api-client-token`, `spec.triggers[0]`, `metadata.labels["a.b"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += '["' + part.replace("\\", "\\\\").replace('"', '\\"') + '"]'
    return text


def holds_secrets(path: Path) -> bool:
    """Whether what stands at a path of a webhook, or of a project's defaults, may be a secret and is never shown."""
    keys = path[2:] if path[:2] == ("spec", "defaults") else path[1:] if path[:1] == ("spec",) else ()
    return bool(keys) and keys[0] in SECRET_FIELDS
