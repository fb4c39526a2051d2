"""A request and its answer as the sandbox's modules hand them to each other. No I/O.

`wire` makes requests of bytes and bytes of answers; `flow` and `script` decide between the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl, unquote

TOKEN_PATH: Final = "/oauth2/v1/token"  # of the org authorization server; as a flow's name, requests for tokens


class Ending(StrEnum):
    """How an exchange ends for the client."""

    ANSWER = "answer"
    RESET_BEFORE = "reset_before"  # TCP reset after the head, before the body is read
    RESET_AFTER = "reset_after"  # TCP reset after the whole request was read
    DROP = "drop"  # read, never answered, the connection stays open
    CLOSE = "close"  # read, then closed in order without an answer
    RAW = "raw"  # bytes of the script as they are, then closed


@dataclass(slots=True)
class Request:
    """What a client sent. `headers` have lower-case names, repeated ones joined by `, ` (RFC 9110, section 5.3)."""

    method: str = ""
    target: str = ""  # as on the wire: path and query
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path of the target, percent-decoded."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The pairs of the query, decoded; blank values are kept."""
        _, mark, query = self.target.partition("?")
        return tuple(parse_qsl(query, keep_blank_values=True)) if mark else ()

    @property
    def has_json_type(self) -> bool:
        """Whether the content type says JSON (RFC 6839 suffix included)."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return kind == "application/json" or kind.endswith("+json")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets, `delay_seconds` after its request was read. `status` is None where no answer is sent."""

    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    ending: Ending = Ending.ANSWER
    delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Invocation:
    """A request that was let through to a flow; `number` counts that flow's invocations from 1."""

    flow: str
    number: int
