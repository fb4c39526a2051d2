"""Hides secrets in what people see: raw, and in the forms in which receivers give them back.

Fed by `egress.secrets` with every value that is read, and by `egress.auth` and `egress.deliver` with what they make or
receive; used by `egress.deliver` on each text it hands out. It keeps a value that was rotated away; only what ends by
itself, access tokens and signatures of assertions, is taken out again.
"""

import base64
import html
import json
import re
from collections.abc import Collection, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

from reconciler import jsontext

Header = tuple[str, str] | tuple[bytes, bytes]

MASK: Final = "***"
REMEMBERED_MAX: Final = 4096  # headers; most are the same in every attempt
SHORT_MAX: Final = 128  # characters of a header that is remembered


class Masker:
    """Every secret read so far, in all its forms."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._forms: tuple[str, ...] = ()
        self._telling: tuple[str, ...] = ()  # of the forms, those that hold no other: one of them is in every text
        self._shortest = 0
        self._headers: dict[Header, tuple[str, str]] = {}
        self.longest = 0  # characters of the longest form

    def add(self, value: str) -> None:
        """Hide this value from now on."""
        if value in self._values or not value:
            return
        self._values.add(value)
        new = forms_of(value)
        self._take({*self._forms, *new}, _telling(self._telling, new))

    def remove(self, value: str) -> None:
        """Hide this value no more: for what expires by itself and is renewed all the time."""
        if value not in self._values:
            return
        self._values.discard(value)
        gone, forms = forms_of(value), {form for kept in self._values for form in forms_of(kept)}
        still = tuple(form for form in self._telling if form in forms)
        self._take(forms, _telling(still, {form for form in forms if any(item in form for item in gone)}))

    def _take(self, forms: set[str], telling: tuple[str, ...]) -> None:
        self._forms, self._telling = tuple(sorted(forms, key=len, reverse=True)), telling
        self.longest, self._shortest = (len(self._forms[0]), len(self._forms[-1])) if self._forms else (0, 0)
        self._headers.clear()

    def is_clean(self, text: str) -> bool:
        """Whether no secret is in the text."""
        if len(text) >= self._shortest:
            for form in self._telling:
                if form in text:
                    return False
        return True

    def mask(self, text: str, *, limit: int | None = None) -> str:
        """The text with each secret replaced by `***`, where secrets overlap by one for all of them.

        With a limit only the first `limit` characters are kept, judged with what follows them: a secret that is cut
        by the limit is hidden as a whole, provided that the text goes on for `longest` characters.
        """
        if not self.is_clean(text):
            return self._masked(text, limit)
        return text if limit is None else text[:limit]

    def mask_header(self, header: Header) -> tuple[str, str]:
        """A name and its value, of a request or as bytes of an answer, both masked, as text that every store takes.

        Most come again with the next attempt: what was found is remembered.
        """
        masked = self._headers.get(header)
        if masked is None:
            name, value = header
            masked = (self.mask(_text(name)), self.mask(_text(value)))
            if len(name) + len(value) <= SHORT_MAX:
                if len(self._headers) >= REMEMBERED_MAX:
                    self._headers.clear()
                self._headers[header] = masked
        return masked

    def _masked(self, text: str, limit: int | None) -> str:
        end = len(text) if limit is None else min(limit, len(text))
        parts: list[str] = []
        position = 0
        for start, stop in _merge(self._spans(text)):
            if start >= end:
                break
            parts += (text[position:start], MASK)
            position = stop
        parts.append(text[position:end])
        return "".join(parts)

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        for form in self._forms:
            start = text.find(form)
            while start >= 0:
                yield start, start + len(form)
                start = text.find(form, start + 1)


def _text(text: str | bytes) -> str:
    """With a lone surrogate, which UTF-8 cannot carry, replaced."""
    if isinstance(text, bytes):
        return text.decode("utf-8", "replace")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _telling(known: tuple[str, ...], new: Collection[str]) -> tuple[str, ...]:
    """Of forms that hold none of each other, and new ones: those that hold no other. Each new one is compared with all,
    never all with all: a token comes and goes while thousands of forms stay."""
    kept = tuple(form for form in known if not any(item in form for item in new if item != form))
    others = {*kept, *new}
    return tuple(dict.fromkeys((*kept, *(f for f in new if not any(item in f for item in others if item != f)))))


def forms_of(value: str) -> frozenset[str]:
    """The spellings that are hidden: raw, JSON (also inside JSON), URL, HTML, Python (in the texts of libraries) and
    Base64 at each alignment."""
    raw = value.encode("utf-8", "surrogatepass")
    escaped = {escape(value) for escape in _JSON_ESCAPES}
    doubled = {escape(item) for item in escaped for escape in _JSON_ESCAPES}
    python = raw.decode("latin-1").encode("unicode_escape").decode("ascii")  # as in repr() of bytes
    urls = (quote(raw, safe=""), quote(raw), quote_plus(raw))
    return frozenset(
        (
            value,
            *escaped,
            *doubled,
            *urls,
            *(_lower_hex(item) for item in urls),
            html.escape(value),
            python,
            python.replace("'", "\\'"),
            ascii(value)[1:-1],
            *_base64_forms(raw),
        )
    )


def _escape_plainly(text: str) -> str:
    """Only what RFC 8259, section 7, demands."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _escape_to_ascii(text: str) -> str:
    return json.dumps(text)[1:-1]


def _escape_slashes(text: str) -> str:
    """As PHP does."""
    return json.dumps(text)[1:-1].replace("/", "\\/")


def _escape_for_html(text: str) -> str:
    """As Go does, so that JSON may stand inside HTML."""
    return _FOR_HTML.sub(lambda match: f"\\u{ord(match[0]):04x}", _escape_plainly(text))


def _escape_widely(text: str) -> str:
    """As .NET does: quotes, signs and everything beyond ASCII as code points, in upper-case hexadecimal."""
    return _FOR_DOTNET.sub(lambda match: _DOTNET.get(match[0], f"\\u{match[0][2:].upper()}"), _escape_to_ascii(text))


_FOR_HTML: Final = re.compile("[<>&\u2028\u2029]")
_DOTNET: Final = {
    **{char: f"\\u{ord(char):04X}" for char in "&'+<>`"},
    '\\"': "\\u0022",
    **{f"\\{char}": f"\\{char}" for char in "\\bfnrt"},
}
_FOR_DOTNET: Final = re.compile(r"\\u[0-9a-f]{4}|\\.|[&'+<>`]")
_JSON_ESCAPES: Final = (
    jsontext.escape,
    _escape_plainly,
    _escape_to_ascii,
    _escape_slashes,
    _escape_for_html,
    _escape_widely,
)


def _base64_forms(raw: bytes) -> Iterator[str]:
    """Base64 of the value, and of the value inside something longer: the characters that depend on it alone.

    Of the text that begins k bytes before the value, the first characters also hold bits of what precedes (none, 2 or
    3 characters for k = 0, 1, 2), and the last one bits of what follows.
    """
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw).decode("ascii")
        for shift, mixed in ((0, 0), (1, 2), (2, 3)):
            whole = (shift + len(raw)) * 8 // 6
            yield encode(bytes(shift) + raw).decode("ascii")[mixed:whole]


def _lower_hex(text: str) -> str:
    """`%2F` as `%2f`."""
    head, *rest = text.split("%")
    return "%".join((head, *(item[:2].lower() + item[2:] for item in rest)))


def _merge(spans: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Overlapping spans as one, from left to right."""
    current: tuple[int, int] | None = None
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
