"""Scripted answers: what a flow answers instead of 200, so that faults can be had on demand and again.

A script is a file of JSON objects, one a line; empty lines and lines that begin with `#` are passed over. Read by the
`sandbox` command before it listens, or built from `Line`s by tests. FORMAT tells people how to write one.
Everything is counted per flow and nothing is left to chance: the same requests get the same answers.
"""

import json
import re
from collections import deque
from collections.abc import Collection, Iterable
from typing import Annotated, Any, Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from reconciler.errors import Problem, Severity
from reconciler.sandbox.exchange import TOKEN_PATH, Answer, Ending, Invocation, Request

EVERY_FLOW: Final = "*"
NUMBER: Final = "number"
DELAY_MAX_SECONDS: Final = 3600

FORMAT: Final = """\
One JSON object a line; empty lines and lines that begin with # are passed over.
Lines with neither `every` nor `match` are taken in order, per flow, each `times` times;
when they run out, the flow answers 200 again.
Lines with `every` or `match` are standing rules and come first.

  flow     alias, "*" for each flow (the default), or "/oauth2/v1/token": the requests for tokens
  times    how many invocations; default 1, for a standing rule without end
  every    7: the flow's 7th, 14th, 21st… invocation
  match    {"number": 3, "webhook-id": "dlv_1"}: the flow's 3rd invocation, headers with these values
  status   200 to 599, with `headers` (an object) and `body` (text, or a value sent as JSON)
  delay    seconds before the answer
  reset    true or "after": TCP reset once the request is read; "before": once its head is read
  close    true: close the connection without an answer
  drop     true: never answer, keep the connection open
  raw      text sent as it is instead of an answer, before the connection is closed

A line with none of status, headers, body, reset, close, drop and raw lets the flow answer as usual,
after its delay.
Only invocations count: what is refused (401, 404, 429…) takes no line.

  {"flow": "*", "every": 7, "status": 500}
  {"status": 503, "headers": {"retry-after": "2"}, "times": 3}
"""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_FIELD_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection"})  # the sandbox writes these

Count = Annotated[int, Field(ge=1)]


class Line(BaseModel):
    """One line of a script; see FORMAT."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    flow: str = EVERY_FLOW
    times: Count | None = None
    every: Count | None = None
    match: dict[str, str | int] | None = None
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None
    delay: Annotated[float, Field(ge=0, le=DELAY_MAX_SECONDS, allow_inf_nan=False)] = 0.0
    reset: Literal[False, True, "before", "after"] = False
    close: bool = False
    drop: bool = False
    raw: str | None = None

    @field_validator("headers")
    @classmethod
    def _headers_can_be_sent(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
                raise ValueError(f"is not a header: {name!r:.60}")
            if name.lower() in _FRAMING:
                raise ValueError(f"is written by the sandbox itself: {name}")
        return {name.lower(): value for name, value in headers.items()}

    @field_validator("match")
    @classmethod
    def _match_has_types(cls, match: dict[str, str | int] | None) -> dict[str, str | int] | None:
        for name, value in (match or {}).items():
            if isinstance(value, int) != (name == NUMBER):
                raise ValueError(f"takes a whole number under `number` and text under a header's name: {name}")
        return None if match is None else {name.lower(): value for name, value in match.items()}

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        has_answer = self.status is not None or bool(self.headers) or self.body is not None
        if has_answer + bool(self.reset) + self.close + self.drop + (self.raw is not None) > 1:
            raise ValueError("an answer, `reset`, `close`, `drop` and `raw` exclude each other")
        if self.delay and (self.drop or self.reset == "before"):
            raise ValueError('`delay` has no effect with `drop` or `reset: "before"`')
        return self

    def is_for(self, flow: str) -> bool:
        """Whether it speaks of this flow; of requests for access tokens only where it names them."""
        return self.flow == flow or (self.flow == EVERY_FLOW and flow != TOKEN_PATH)

    @property
    def is_rule(self) -> bool:
        """Whether the line stands, instead of being one in the sequence."""
        return self.every is not None or self.match is not None

    @property
    def ending(self) -> Ending:
        """How the exchange ends."""
        if self.reset:
            return Ending.RESET_BEFORE if self.reset == "before" else Ending.RESET_AFTER
        if self.close:
            return Ending.CLOSE
        if self.drop:
            return Ending.DROP
        return Ending.ANSWER if self.raw is None else Ending.RAW

    def covers(self, invocation: Invocation, request: Request) -> bool:
        """Whether a standing rule applies."""
        return (
            self.is_for(invocation.flow)
            and (self.every is None or invocation.number % self.every == 0)
            and all(
                invocation.number == value if name == NUMBER else request.headers.get(name) == value
                for name, value in (self.match or {}).items()
            )
        )

    def apply(self, usual: Answer) -> Answer:
        """The answer that the line makes of the usual one."""
        if self.ending is not Ending.ANSWER:
            raw = (self.raw or "").encode("utf-8")
            return Answer(None, body=raw, ending=self.ending, delay_seconds=self.delay)
        if self.status is None and not self.headers and self.body is None:
            return Answer(usual.status, usual.headers, usual.body, delay_seconds=self.delay)
        is_text = self.body is None or isinstance(self.body, str)
        kind = "text/plain; charset=utf-8" if is_text else "application/json"
        body = (self.body or "").encode("utf-8") if is_text else orjson.dumps(self.body)
        status = 200 if self.status is None else self.status
        return Answer(status, {"content-type": kind, **self.headers}, body, delay_seconds=self.delay)


class Script:
    """The lines and how far each flow has come in them."""

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        self._rules: list[Line] = []
        self._sequence: list[Line] = []
        self._rule_uses: dict[tuple[str, int], int] = {}
        self._left: dict[str, deque[list[Any]]] = {}  # per flow: [line, how many times yet]
        self.extend(lines)

    def extend(self, lines: Iterable[Line]) -> None:
        """Add lines behind those that are there."""
        for line in lines:
            if line.is_rule:
                self._rules.append(line)
                continue
            self._sequence.append(line)
            for flow, left in self._left.items():
                if line.is_for(flow):
                    left.append([line, line.times or 1])

    def take(self, invocation: Invocation, request: Request) -> Line | None:
        """The line that this invocation uses up; None once the flow has none left."""
        for index, rule in enumerate(self._rules):
            if not rule.covers(invocation, request):
                continue
            uses = self._rule_uses.get((invocation.flow, index), 0)
            if rule.times is None or uses < rule.times:
                self._rule_uses[invocation.flow, index] = uses + 1
                return rule
        return self._next(invocation.flow)

    def _next(self, flow: str) -> Line | None:
        if not self._sequence:
            return None
        if flow not in self._left:
            self._left[flow] = deque([line, line.times or 1] for line in self._sequence if line.is_for(flow))
        left = self._left[flow]
        if not left:
            return None
        entry = left[0]
        entry[1] -= 1
        if entry[1] == 0:
            left.popleft()
        line: Line = entry[0]
        return line


def read_script(text: bytes, *, file: str, flows: Collection[str] = ()) -> tuple[tuple[Line, ...], tuple[Problem, ...]]:
    """The lines of a script and everything wrong with it; with `flows`, a line for another flow is a problem."""
    lines: list[Line] = []
    problems: list[Problem] = []
    for number, source in enumerate(text.split(b"\n"), start=1):
        if not source.strip() or source.lstrip().startswith(b"#"):
            continue
        try:
            line = Line.model_validate(json.loads(source))
        except ValidationError as exc:
            problems.extend(_problem(file, number, _wording(error)) for error in exc.errors(include_url=False))
            continue
        except ValueError as exc:
            problems.append(_problem(file, number, f"not JSON: {_uncapitalised(str(exc))}"))
            continue
        if flows and line.flow not in (EVERY_FLOW, TOKEN_PATH, *flows):
            problems.append(_problem(file, number, f"`flow` is none of the flows given: {line.flow}"))
        lines.append(line)
    return tuple(lines), tuple(problems)


def _problem(file: str, line: int, message: str) -> Problem:
    return Problem(Severity.ERROR, "script", message, file=file, line=line)


def _wording(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"unknown key: {path}"
    message = _uncapitalised(error["msg"].removeprefix("Value error, "))
    return f"`{path}` {message}" if path else message


def _uncapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]
