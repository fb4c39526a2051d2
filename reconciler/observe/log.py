"""The daemon's log: one canonical line per fact, the event's name first, the facts as fields.

Called by every room below the command line; `configure` is called once, by the command that starts something
long-lived; until then nothing is written. Never the place for a secret or a whole body: values are cut at 256
characters.
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from threading import get_ident
from types import NoneType
from typing import Any, Final, Literal, TextIO

Format = Literal["text", "json"]

VALUE_MAX_CHARACTERS: Final = 256
NUMBER_LIMIT: Final = 2**63  # beyond it readers of JSON disagree; such a number is written as text
_LEAST: Final = -NUMBER_LIMIT
_NEEDS_QUOTES: Final = re.compile(r'[\s"=\\]|^$')

_MARKS: Final = {str: "%s", int: "%s", float: "%.1f", NoneType: "%.0s"}  # in a format; the last writes nothing

_log: "_Log | None" = None


class _Pen:
    """Writes lines; where it `gathers`, those of one round of the event loop together, at the end of the round."""

    def __init__(self, stream: TextIO, gathers: bool) -> None:
        self._stream = stream
        self._gathers = gathers
        self._waiting: list[str] = []  # touched by the loop's thread alone
        self._waits_in = 0  # which thread that is, while there are any; who ends its loop calls `flush`

    def write(self, line: str) -> None:
        if self._waits_in == get_ident():  # asking for the loop is a call of the system each time
            self._waiting.append(line)
            return
        if self._gathers:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:  # another thread, or no loop
                pass
            else:
                loop.call_soon(self.flush)
                self._waiting.append(line)
                self._waits_in = get_ident()
                return
        self._put(line)

    def flush(self) -> None:
        self._waits_in = 0
        text = "".join(self._waiting)
        self._waiting.clear()
        if text:
            self._put(text)

    def _put(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # a log that cannot be written must not stop deliveries
            pass


class _Log:
    """What was configured."""

    def __init__(self, format: Format, pen: _Pen, clock: Callable[[], int]) -> None:
        self.format = format
        self.pen = pen
        self._clock = clock
        self._render = _json_line if format == "json" else _text_line

    def now(self) -> str:
        return _moment_text(self._clock() // 1_000_000)

    def write(self, event: str, facts: dict[str, Any]) -> None:
        self.pen.write(f"{self._render(self.now(), event, facts)}\n")


def configure(
    format: Format, stream: TextIO, *, clock: Callable[[], int] = time.time_ns, gathers: bool = False
) -> None:
    """Write from now on to `stream`, as JSON lines or as `time event key=value …`. `clock` gives nanoseconds.

    With `gathers` the lines of one round of the event loop are written at its end, in one call of the system;
    `flush` writes what a loop that has ended left.
    """
    global _log
    _log = _Log(format, _Pen(stream, gathers), clock)


@lru_cache(maxsize=4)
def _moment_text(milliseconds: int) -> str:
    """A moment since the epoch; several lines come in one millisecond."""
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{_seconds_text(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=4)
def _seconds_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def flush() -> None:
    """Write what was gathered."""
    if _log is not None:
        _log.pen.flush()


def silence() -> None:
    """Write nothing from now on."""
    global _log
    flush()
    _log = None


def capture_libraries() -> None:
    """From now on what libraries and the interpreter warn of are facts of this log, not lines of their own making."""
    logging.basicConfig(handlers=[_Captured()], level=logging.WARNING, force=True)
    logging.captureWarnings(True)


class _Captured(logging.Handler):
    """A library's record as one fact; of an exception its kind and place."""

    def emit(self, record: logging.LogRecord) -> None:
        exc = record.exc_info[1] if record.exc_info else None
        facts = {"error": f"{type(exc).__name__}: {exc}", "where": place_of(exc)} if exc is not None else {}
        log("library.warned", logger=record.name, message=record.getMessage(), **facts)


def log(event: str, **facts: Any) -> None:
    """One fact: `log("delivery.attempted", id=…, attempt=1)`. Never raises for the values it is given."""
    to = _log
    if to is not None:
        to.write(event, facts)


class Pattern:
    """A line that is written for each event or delivery: all but its values is made once, for both forms.

    `facts` are those of `log`: a value stands in each line as it is, a type has a place: `str`, `int` (below
    NUMBER_LIMIT), `float` (with one decimal), and NoneType for what is None each time.
    """

    def __init__(self, event: str, **facts: Any) -> None:
        text, json_ = ["%s ", event], [f'{{"event": {json.dumps(event)}, "at": "%s"']
        for key, value in facts.items():
            text.append(_place_in_text(key, value))
            json_.append(f', "{key}": {_place_in_json(value)}')
        self._forms: dict[Format, str] = {"text": f"{''.join(text)}\n", "json": f"{''.join(json_)}}}\n"}
        kinds = [value for value in facts.values() if isinstance(value, type)]
        texts = [index for index, kind in enumerate(kinds) if kind is str]
        assert len(texts) != 1  # itemgetter of one gives no tuple
        self._texts_of = itemgetter(*texts) if texts else None

    def write(self, *values: str | float | None) -> bool:
        """Write the line with these values in its places, as `log` would; False, nothing being written, where a text
        cannot stand in it as it is. Of the places none, or two at least, are for texts."""
        to = _log  # another thread may silence it meanwhile
        if to is None:
            return True
        if self._texts_of is not None and not _are_plain(self._texts_of(values)):
            return False
        to.pen.write(self._forms[to.format] % (to.now(), *values))
        return True


def _place_in_text(key: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, type):
        return _MARKS[value] if value is NoneType else f" {key}={_MARKS[value]}"
    return f" {key}={_quoted(_scalar(value))}".replace("%", "%%")


def _place_in_json(value: Any) -> str:
    if isinstance(value, type):
        return {str: '"%s"', NoneType: f"null{_MARKS[value]}"}.get(value, _MARKS[value])
    return json.dumps(_scalar(value)).replace("%", "%%")


def place_of(exc: BaseException) -> str:
    """Where in our code an exception was raised, `room/module.py:line` from the outside in: for one line of a log."""
    frames = []
    trace = exc.__traceback__
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename
        if "/reconciler/" in path:
            frames.append(f"{path.rpartition('/reconciler/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(frames[-3:])


def _json_line(at: str, event: str, facts: dict[str, Any]) -> str:
    values = {key: _scalar(value) for key, value in facts.items()}
    return json.dumps({"event": event, "at": at, **values}, ensure_ascii=True)


def _text_line(at: str, event: str, facts: dict[str, Any]) -> str:
    plain = _plain_line(at, event, facts)
    if plain is not None:
        return plain
    words = [f"{key}={_quoted(_scalar(value))}" for key, value in facts.items() if value is not None]
    return " ".join([at, event, *words])


def _plain_line(at: str, event: str, facts: dict[str, Any]) -> str | None:
    """The line where every value stands in it as it is, which is looked at for all of them together; else None."""
    words, texts = [at, event], []
    for key, value in facts.items():
        if value is None:
            continue
        kind = type(value)
        if kind is int or kind is float:
            if not _LEAST < value < NUMBER_LIMIT:
                return None
        elif isinstance(value, str):
            texts.append(value)
        else:
            return None
        words.append(f"{key}={value!s}")
    return " ".join(words) if _are_plain(texts) else None


def _are_plain(texts: Sequence[str]) -> bool:
    """Whether each of these can stand in a line as it is, in either form."""
    whole = "".join(texts)
    if "" in texts or (len(whole) > VALUE_MAX_CHARACTERS < len(max(texts, key=len))):
        return False
    needs_quotes = " " in whole or '"' in whole or "=" in whole or "\\" in whole
    return not needs_quotes and whole.isascii() and whole.isprintable()


def _scalar(value: Any) -> str | int | float | bool | None:
    """A value a log line can hold: scalars as they are, anything else as text, cut."""
    # Three cases: nothing and truth; numbers that JSON readers take; anything else as text.
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) < NUMBER_LIMIT:
        return value
    text = f"{value:#x}" if isinstance(value, int) else f"{value}"  # Python refuses to write long integers in decimal
    return text if len(text) <= VALUE_MAX_CHARACTERS else f"{text[: VALUE_MAX_CHARACTERS - 1]}…"


def _quoted(value: str | int | float | bool | None) -> str:
    """A value without line breaks, control or bidi characters; in quotes where it would not stay one word."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f"{value}"
    if text.isprintable() and not _NEEDS_QUOTES.search(text):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in quoted)
