"""What to look for in a squeezed text to find a secret, and a quick look for many at once. Pure; for `egress.mask`.

A secret is looked for as it is, in Base64 at each alignment and in hexadecimal; escapes are undone in the text, by
`egress.spelling`, not tried here.
"""

import base64
import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote

from reconciler.egress.spelling import squeezed, wholly_undone

PLAIN_MIN: Final = 4  # squeezed bytes of a value that can be told from ordinary text
CODED_MIN: Final = 8
_QUOTED: Final = b"\"'/"  # what encoders put a backslash before
# For needles of 31, 15 and 7 bytes and more: by which numbers, and how many bytes apart
_PIECES: Final[tuple[tuple[Literal["Q", "I"], int], ...]] = (("Q", 24), ("Q", 8), ("I", 4))
_FEW_BY_STEP: Final = 72  # over the step: so many are sooner looked for one by one than by all pieces of a text


@dataclass(frozen=True, slots=True)
class Needle:
    """Bytes to look for. `lead` and `trail` are what the value begins and ends with that squeezing leaves out."""

    data: bytes
    lead: bytes = b""
    trail: bytes = b""


def needles_of(value: str) -> frozenset[Needle]:
    """All of a value; none for one that squeezing leaves hardly anything of."""
    raw = value.encode("utf-8", "surrogatepass")
    # 1. in UTF-8, and its Latin-1 characters as one byte each, as old programs have it in URLs and Python in `\xe9`
    # 2. with what looks like an escape in it undone: other escapes around it are undone with it
    plain = {spelling for item in (raw, _latin(value)) for spelling in (item, wholly_undone(item))}
    inner = {raw, *(again(once(raw)) for once in _ESCAPES for again in (*_ESCAPES, bytes))}
    coded = {
        squeezed(code) for item in inner for code in (*_base64(item), item.hex().encode(), item.hex().upper().encode())
    }
    return frozenset(
        (
            *(_plain_needle(item) for item in plain if len(squeezed(item)) >= PLAIN_MIN),
            *(Needle(code) for code in coded if len(code) >= CODED_MIN),
        )
    )


def _in_json(raw: bytes) -> bytes:
    return json.dumps(raw.decode("utf-8", "surrogatepass"), ensure_ascii=False).encode("utf-8", "surrogatepass")[1:-1]


def _in_ascii_json(raw: bytes) -> bytes:
    return json.dumps(raw.decode("utf-8", "surrogatepass")).encode()[1:-1]


def _in_url(raw: bytes) -> bytes:
    return quote(raw, safe="").encode()


# What texts that are put into Base64 as a whole have their parts escaped by: bodies, records of requests, claims
_ESCAPES: Final = (_in_json, _in_ascii_json, _in_url)


def _plain_needle(spelling: bytes) -> Needle:
    data = squeezed(spelling)
    start, stop = spelling.index(data[:1]), spelling.rindex(data[-1:]) + 1
    lead = spelling[:start] + (b"\\" if start or data[:1] in _QUOTED else b"")
    return Needle(data, lead, spelling[stop:] + (b"\\" if spelling[stop:] else b""))


def _latin(value: str) -> bytes:
    return b"".join(
        char.encode("latin-1") if char <= "\xff" else char.encode("utf-8", "surrogatepass") for char in value
    )


def _base64(raw: bytes) -> Iterator[bytes]:
    """Base64 of the value, and of the value inside something longer: the characters that depend on it alone.

    Of the text that begins k bytes before the value, the first characters also hold bits of what precedes (none, 2 or
    3 characters for k = 0, 1, 2), and the last one bits of what follows.
    """
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(raw)
        yield from (whole, whole.rstrip(b"="))
        for shift, mixed in ((0, 0), (1, 2), (2, 3)):
            yield encode(bytes(shift) + raw)[mixed : (shift + len(raw)) * 8 // 6]


class Haystack:
    """Says which of many needles may be in a text, in a time that hardly depends on how many there are.

    A text is looked at in pieces of a fixed width, some way apart and compared as numbers: whatever is long enough has
    a whole piece in it, wherever it stands, which is one of its first windows of that width. The longer a needle, the
    fewer pieces are looked at for it; it costs memory for as many windows as its pieces are bytes apart.
    """

    def __init__(self) -> None:
        self._groups = tuple([_Windows(code, step) for code, step in _PIECES])
        self._short: dict[bytes, None] = {}

    def add(self, needle: bytes) -> None:
        """Look for it from now on."""
        windows = self._windows_for(needle)
        if windows is None:
            self._short[needle] = None
        else:
            windows.add(needle)

    def remove(self, needle: bytes) -> None:
        """Look for it no more."""
        windows = self._windows_for(needle)
        if windows is None:
            del self._short[needle]
        else:
            windows.remove(needle)

    def found_in(self, text: bytes) -> list[bytes]:
        """Those that are in the text."""
        candidates = list(self._short)
        for windows in self._groups:
            if windows.needles:
                candidates += windows.candidates(text) if len(windows.needles) > windows.few else windows.needles
        return [needle for needle in dict.fromkeys(candidates) if needle in text] if candidates else candidates

    def _windows_for(self, needle: bytes) -> "_Windows | None":
        return next((windows for windows in self._groups if len(needle) >= windows.shortest), None)


class _Windows:
    """Needles by their first windows; `code` is the width as the struct module knows it, `step` how many bytes the
    pieces of a text are apart, a multiple of the width."""

    __slots__ = ("_by_window", "_code", "_every", "_step", "_width", "few", "needles", "shortest")

    def __init__(self, code: Literal["Q", "I"], step: int) -> None:
        self._code: Literal["Q", "I"] = code
        self._width = struct.calcsize(f"={code}")
        self._step = step
        self._every = step // self._width
        self.shortest = step + self._width - 1  # bytes of a needle that has a whole piece in it wherever it stands
        self.few = _FEW_BY_STEP // step
        self.needles: dict[bytes, None] = {}
        self._by_window: dict[int, tuple[bytes, ...]] = {}

    def add(self, needle: bytes) -> None:
        self.needles[needle] = None
        for window in self._of(needle):
            self._by_window[window] = (*self._by_window.get(window, ()), needle)

    def remove(self, needle: bytes) -> None:
        del self.needles[needle]
        for window in self._of(needle):
            left = tuple([other for other in self._by_window[window] if other != needle])
            if left:
                self._by_window[window] = left
            else:
                del self._by_window[window]

    def candidates(self, text: bytes) -> list[bytes]:
        whole = len(text) // self._width * self._width
        pieces = memoryview(text)[:whole].cast(self._code)[:: self._every]
        if self._by_window.keys().isdisjoint(pieces):
            return []
        return [needle for piece in pieces for needle in self._by_window.get(piece, ())]

    def _of(self, needle: bytes) -> set[int]:
        return {int.from_bytes(needle[at : at + self._width], sys.byteorder) for at in range(self._step)}
