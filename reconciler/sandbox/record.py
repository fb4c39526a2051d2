"""What the sandbox was sent, as evidence: one JSON line a request, on disk before the client gets its answer.

Written by `okta`; read by tests, and by people with `jq`. Client tokens and credentials are masked, bodies are kept.
"""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from reconciler.sandbox.exchange import Ending


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request and what was decided about it.

    `n` counts from 1 in the order of the decisions, `time` is in milliseconds since the epoch. `flow` is the alias,
    None where the request named no flow; `invocation` counts the flow's invocations from 1, None where it was refused.
    `path` holds the query too. `status` is None where no answer was sent, see `ending`.
    """

    n: int
    time: int
    flow: str | None
    invocation: int | None
    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes
    status: int | None
    ending: Ending

    @property
    def body(self) -> str:
        """The body as text; bytes that are not UTF-8 become U+FFFD."""
        return self.content.decode("utf-8", "replace")

    def to_json(self) -> dict[str, Any]:
        """The shape of a record line; `body_base64` only where `body` cannot say it all."""
        line: dict[str, Any] = {
            "n": self.n,
            "time": self.time,
            "flow": self.flow,
            "invocation": self.invocation,
            "method": self.method,
            "path": self.path,
            "headers": dict(self.headers),
            "body": self.body,
            "status": self.status,
            "ending": self.ending.value,
        }
        if self.body.encode("utf-8") != self.content:
            line["body_base64"] = base64.b64encode(self.content).decode("ascii")
        return line


class RecordFile:
    """An append-only file of record lines. Each is handed to the system in one write, unbuffered, so that it outlives
    a kill -9 of the sandbox at any moment; for its owner only, since tokens stand in them. Opening raises OSError."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append(self, request: RecordedRequest) -> None:
        """Write one line. Raises OSError."""
        line = memoryview(orjson.dumps(request.to_json()) + b"\n")
        while line:
            line = line[os.write(self._descriptor, line) :]

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
