"""Hides secrets in what people see, in whatever spelling receivers and libraries give them back.

Fed by `egress.secrets` with every value that is read, and by `egress.auth` and `egress.deliver` with what they make or
receive; used by `egress` on each text that it hands out. It keeps a value that was rotated away; only what ends by
itself, access tokens and signatures of assertions, is taken out again. Threads may share one.
"""

import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Final

from reconciler.egress.needle import Haystack, Needle, needles_of
from reconciler.egress.spelling import LEVELS_MAX, Level, cut_escape, levels, squeeze, squeezed, undone

Header = tuple[str, str] | tuple[bytes, bytes]
Span = tuple[int, int]

MASK: Final = "***"
REMEMBERED_MAX: Final = 4096  # headers; most are the same in every attempt
SHORT_MAX: Final = 128  # characters of a header that is remembered
SPELT_MAX: Final = 8  # bytes that usually spell one at most, as `\\u0041` does
BEGINNING_MIN: Final = 8  # bytes of a secret whose end was cut off, from which on they are hidden

_BACKSLASH: Final = ord("\\")


class Masker:
    """Every secret read so far."""

    def __init__(self) -> None:
        self._values: dict[str, frozenset[Needle]] = {}
        self._needles: dict[bytes, list[Needle]] = {}  # by what is looked for: one for each value that has it
        self._tiny: dict[bytes, None] = {}  # values without a needle: found as they are, and in no other spelling
        self._haystack = Haystack()
        self._headers: dict[Header, tuple[str, str]] = {}
        self.version = 0  # how often something was added or removed
        self._lock = threading.Lock()
        self._shortest = sys.maxsize  # bytes of the shortest thing that is looked for, or fewer
        self.longest = 0  # bytes of a usual spelling of the longest value

    def add(self, value: str) -> None:
        """Hide this value from now on."""
        if value in self._values or not value:
            return
        needles = needles_of(value)
        with self._lock:
            if value not in self._values:
                self._take(value, needles)

    def remove(self, value: str) -> None:
        """Hide this value no more: for what expires by itself and is renewed all the time."""
        with self._lock:
            if value in self._values:
                self._drop(value)

    def _take(self, value: str, needles: frozenset[Needle]) -> None:
        raw = _bytes(value)
        self._values[value] = needles
        for needle in needles:
            if needle.data not in self._needles:
                self._haystack.add(needle.data)
            self._needles.setdefault(needle.data, []).append(needle)
        if not needles:
            self._tiny[raw] = None
        self.longest = max(self.longest, SPELT_MAX * len(raw))
        self._shortest = min([self._shortest, len(raw), *(len(needle.data) for needle in needles)])
        self.version += 1
        self._headers.clear()

    def _drop(self, value: str) -> None:
        for needle in self._values.pop(value):
            self._needles[needle.data].remove(needle)
            if not self._needles[needle.data]:
                del self._needles[needle.data]
                self._haystack.remove(needle.data)
        self._tiny.pop(_bytes(value), None)
        self.longest = SPELT_MAX * max(map(len, map(_bytes, self._values)), default=0)
        self.version += 1
        self._headers.clear()

    def is_clean(self, text: str) -> bool:
        """Whether no secret is in the text."""
        if not self._values:
            return True
        with self._lock:
            return self._is_clean(_bytes(text))

    def mask(self, text: str, *, limit: int | None = None, is_cut: bool = False) -> str:
        """The text with each secret replaced by `***`, where secrets overlap by one for all of them.

        With a limit only the first `limit` characters are kept, judged with what follows them: a secret that is cut
        by the limit is hidden as a whole, provided that the text goes on for `longest` bytes. With `is_cut` more
        followed that is not known: what may be the beginning of a secret at the end is hidden too.
        """
        if not self._values:
            return text if limit is None else text[:limit]
        data = _bytes(text)
        end = len(data) if limit is None or len(text) <= limit else len(_bytes(text[:limit]))
        with self._lock:
            spans = [] if self._is_clean(data) else list(self._spans(data))
            if is_cut and (tail := max(0, len(data) - self.longest)) < end:
                spans += self._beginnings(data, tail)
        if not spans:
            return text if limit is None else text[:limit]
        return _replaced(data, spans, end).decode("utf-8", "surrogatepass")

    def mask_header(self, header: Header) -> tuple[str, str]:
        """A name and its value, of a request or as bytes of an answer, both masked, as text that every store takes.

        Most come again with the next attempt: what was found is remembered.
        """
        masked = self._headers.get(header)
        if masked is None:
            name, value = header
            changes = self.version
            masked = (self.mask(_text(name)), self.mask(_text(value)))
            if len(name) + len(value) <= SHORT_MAX:
                with self._lock:
                    if changes == self.version:  # else a secret may have come that stands in it
                        self._remember(header, masked)
        return masked

    def _remember(self, header: Header, masked: tuple[str, str]) -> None:
        if len(self._headers) >= REMEMBERED_MAX:
            self._headers.clear()
        self._headers[header] = masked

    def mask_headers(self, headers: Iterable[Header]) -> list[tuple[str, str]]:
        """`mask_header` of each."""
        known = self._headers
        return [known.get(header) or self.mask_header(header) for header in headers]

    def _is_clean(self, data: bytes) -> bool:
        if 2 * len(data) < self._shortest:  # no escape stands for more than twice its bytes
            return True
        if self._tiny and any(tiny in data for tiny in self._tiny):
            return False
        for _ in range(LEVELS_MAX):
            if self._haystack.found_in(squeezed(data)):
                return False
            above = undone(data)
            if above is None:
                break
            data = above
        return True

    def _spans(self, data: bytes) -> Iterator[Span]:
        """Where secrets stand, on any level."""
        for tiny in self._tiny:
            yield from _places(data, tiny)
        for level in levels(data):
            view = squeeze(level)
            for found in self._haystack.found_in(view.data):
                lead = b"".join(needle.lead for needle in self._needles[found])
                trail = b"".join(needle.trail for needle in self._needles[found])
                for start, stop in _places(view.data, found):
                    yield level.span_of_text(*_grown(level, *view.span_below(start, stop), lead, trail))

    def _beginnings(self, data: bytes, tail: int) -> Iterator[Span]:
        """From where on, not before `tail`, the rest may be the beginning of a secret, or of an escape in one."""
        for whole in {data[tail:], data[tail : cut_escape(data)]}:
            for level in levels(whole):
                view = squeeze(level)
                for needle in self._needles:
                    start = _beginning(view.data, needle)
                    if start is not None:
                        first, _ = level.span_of_text(view.span_below(start, len(view.data))[0], len(level.data))
                        yield tail + first, len(data)


def _beginning(data: bytes, needle: bytes) -> int | None:
    """From where on the rest of the data is what the needle begins with."""
    first = needle[:BEGINNING_MIN]
    start = data.find(first, max(0, len(data) - len(needle)))
    while start >= 0:
        if needle.startswith(data[start:]):
            return start
        start = data.find(first, start + 1)
    return None


def _places(data: bytes, needle: bytes) -> Iterator[Span]:
    start = data.find(needle)
    while start >= 0:
        yield start, start + len(needle)
        start = data.find(needle, start + 1)


def _grown(level: Level, start: int, stop: int, lead: bytes, trail: bytes) -> Span:
    """The span with what else of the secret stands beside it: the blanks and signs that squeezing leaves out, as many
    as there are in the secret, and any backslashes before what it begins with."""
    data, left, right = level.data, len(lead), len(trail)
    while start and left and data[start - 1] in lead:
        start -= 1
        left -= data[start] != _BACKSLASH
    while stop < len(data) and right and data[stop] in trail:
        right -= data[stop] != _BACKSLASH
        stop += 1
    return start, stop


def _replaced(data: bytes, spans: list[Span], end: int) -> bytes:
    parts: list[bytes] = []
    position = 0
    for start, stop in _merge(_whole_characters(data, span) for span in spans):
        if start >= end:
            break
        parts += (data[position:start], MASK.encode())
        position = stop
    parts.append(data[position:end])
    return b"".join(parts)


def _whole_characters(data: bytes, span: Span) -> Span:
    start, stop = span
    while 0 < start < len(data) and data[start] & 0xC0 == 0x80:
        start -= 1
    while stop < len(data) and data[stop] & 0xC0 == 0x80:
        stop += 1
    return start, stop


def _merge(spans: Iterator[Span]) -> Iterator[Span]:
    """Overlapping spans as one, from left to right."""
    current: Span | None = None
    for start, stop in sorted(spans):
        if current is None:
            current = (start, stop)
        elif start < current[1]:
            current = (current[0], max(current[1], stop))
        else:
            yield current
            current = (start, stop)
    if current is not None:
        yield current


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(text: str | bytes) -> str:
    """With a lone surrogate, which UTF-8 cannot carry, replaced."""
    if isinstance(text, bytes):
        return text.decode("utf-8", "replace")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
