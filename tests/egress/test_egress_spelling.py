"""Laws of masking: whatever a receiver makes of a secret on its way back, however often, and wherever the text ends."""

import base64
import html
import itertools
import json
import textwrap
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from reconciler.egress.mask import MASK, Masker
from reconciler.egress.needle import Haystack
from reconciler.egress.spelling import levels, squeeze, undone

RUN = 8  # characters in a row that must not be left: no secret is shorter
TEXT = st.characters(codec="utf-8")
SECRETS = st.text(TEXT, min_size=8, max_size=60).filter(
    lambda text: sum(c > " " and c not in "+\\\x7f" for c in text) >= 8
)
# Text beside a secret; an escape that is begun in it and ended by the secret's own characters is no spelling of it
BESIDE = st.text(TEXT, max_size=20).map(lambda text: text.replace("%", "").replace("&", "").replace("\\", ""))
KANARIE = 'kanarie"Qz/7+\\w9 <Xv>&J4pTn~Rb%20Lké€😀'

Spell = Callable[[str], str]


def code_points(text: str, form: str) -> str:
    """Each character as its code point in UTF-16 units, in this form."""
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(form.format(int.from_bytes(units[at : at + 2])) for at in range(0, len(units), 2))


def percent(text: str) -> str:
    """Each byte, in lower case."""
    return "".join(f"%{byte:02x}" for byte in text.encode())


ESCAPES: dict[str, Spell] = {
    "raw": lambda text: text,
    "json": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "json in ascii": lambda text: json.dumps(text)[1:-1],
    "json by php": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "json by go": lambda text: "".join(code_points(c, "\\u{:04x}") if c in "<>&" else ESCAPES["json"](c) for c in text),
    "json by .net": lambda text: "".join(
        code_points(c, "\\u{:04X}") if c in "<>&'+`\"" or c > "~" else ESCAPES["json"](c) for c in text
    ),
    "json, all of it": lambda text: code_points(text, "\\u{:04x}"),
    "javascript": lambda text: "".join(
        f"\\x{ord(c):02x}" if c <= "\x7f" else code_points(c, "\\u{:04X}") for c in text
    ),
    "python": lambda text: ascii(text)[1:-1],
    "python bytes": lambda text: repr(text.encode())[2:-1],
    "url": lambda text: quote(text, safe=""),
    "url path": lambda text: quote(text),
    "url, nearly all": lambda text: quote(text, safe="!*'()~;:@&=$,?#[]"),
    "url, all of it": percent,
    "form": quote_plus,
    "html": html.escape,
    "html, quotes left": lambda text: html.escape(text, quote=False),
    "html, decimal": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "html, hexadecimal": lambda text: "".join(f"&#x{ord(c):X};" for c in text),
    "html, ascii": lambda text: html.escape(text).encode("ascii", "xmlcharrefreplace").decode(),
}
INNER = ("raw", "json", "json in ascii", "url")  # what is commonly in Base64 as a whole, once or twice: bodies, claims
CODES: dict[str, Callable[[bytes], str]] = {
    "base64": lambda raw: base64.b64encode(raw).decode(),
    "base64 for urls": lambda raw: base64.urlsafe_b64encode(raw).decode(),
    "base64, not padded": lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("="),
}
WRAPS: dict[str, Spell] = {
    "whole": lambda text: text,
    "mime": lambda text: "\r\n".join(textwrap.wrap(text, 76)),
    "narrow": lambda text: "\n  ".join(textwrap.wrap(text, 16)),
}


def masker_of(*values: str) -> Masker:
    """A masker that has seen these values."""
    masker = Masker()
    for value in values:
        masker.add(value)
    return masker


def left_of(spelt: str, shown: str) -> list[str]:
    """The runs of a spelling that still stand there."""
    runs = [spelt[at : at + RUN] for at in range(len(spelt) - RUN + 1)]
    return [run for run in runs if run in shown]


@pytest.mark.parametrize("outer", ESCAPES)
@pytest.mark.parametrize("inner", ESCAPES)
def test_a_secret_is_hidden_in_every_spelling_of_every_spelling(outer: str, inner: str) -> None:
    """Exactly it: what stands around it is left."""
    spelt = ESCAPES[outer](ESCAPES[inner](KANARIE))

    assert masker_of(KANARIE).mask(f'{{"was": "{spelt}", "n": 1}}') == f'{{"was": "{MASK}", "n": 1}}'


@given(
    secret=SECRETS,
    outer=st.sampled_from(sorted(ESCAPES)),
    inner=st.sampled_from(sorted(ESCAPES)),
    before=BESIDE,
    after=BESIDE,
)
@example("abcdefg%", "raw", "url", "", "20")
def test_nothing_of_a_secret_is_left_in_any_spelling(
    secret: str, outer: str, inner: str, before: str, after: str
) -> None:
    """Law: for any secret, spelt in any way within any other, in any text: no eight characters of it in a row."""
    spelt = ESCAPES[outer](ESCAPES[inner](secret))
    assume(not left_of(spelt, before + after))

    masked = masker_of(secret).mask(before + spelt + after)

    assert left_of(spelt, masked) == []
    assert MASK in masked


@given(
    secret=SECRETS,
    outer=st.sampled_from(sorted(ESCAPES)),
    inner=st.tuples(st.sampled_from(INNER), st.sampled_from(INNER)),
    code=st.sampled_from(sorted(CODES)),
    wrap=st.sampled_from(sorted(WRAPS)),
    before=st.binary(max_size=9),
    after=st.binary(max_size=9),
)
def test_nothing_of_a_secret_is_left_in_base64(
    secret: str, outer: str, inner: tuple[str, str], code: str, wrap: str, before: bytes, after: bytes
) -> None:
    """Law: at each alignment, padded or not, in both alphabets, wrapped, and escaped as a whole."""
    raw = ESCAPES[inner[1]](ESCAPES[inner[0]](secret)).encode()
    whole = CODES[code](before + raw + after)
    first, last = -(-len(before) * 8 // 6), (len(before) + len(raw)) * 8 // 6
    spelt = ESCAPES[outer](WRAPS[wrap](whole))
    beside = f"{ESCAPES[outer](whole[:first])} {ESCAPES[outer](whole[last:])}"
    runs = left_of(ESCAPES[outer](whole[first:last]), beside)
    assume(not runs)

    masked = masker_of(secret).mask(f"<{spelt}>")

    for line_end in ("\r\n", "\n  "):
        masked = masked.replace(ESCAPES[outer](line_end), "")
    assert left_of(ESCAPES[outer](whole[first:last]), masked) == []
    assert MASK in masked


@given(secret=SECRETS, outer=st.sampled_from(sorted(ESCAPES)), is_upper=st.booleans())
def test_nothing_of_a_secret_is_left_in_hexadecimal(secret: str, outer: str, is_upper: bool) -> None:
    """Law: in both cases."""
    code = secret.encode().hex()
    spelt = ESCAPES[outer](code.upper() if is_upper else code)

    assert masker_of(secret).mask(f"<{spelt}>") == f"<{MASK}>"


@given(secret=SECRETS, outer=st.sampled_from(sorted(ESCAPES)), before=BESIDE, data=st.data())
def test_of_a_secret_whose_end_is_missing_no_eight_bytes_are_left(
    secret: str, outer: str, before: str, data: st.DataObject
) -> None:
    """Law: an answer that breaks off, in a secret and even in an escape, shows less of it than any secret has."""
    spelt = ESCAPES[outer](secret)
    cut = spelt[: data.draw(st.integers(0, len(spelt) - 1))]

    masked = masker_of(secret).mask(before + cut, is_cut=True)

    kept = masked.removeprefix(before)
    assert MASK in masked or len(kept) == len(cut)
    for level in levels(kept.replace(MASK, "\0").encode()):
        rest = squeeze(level).data
        if outer == "raw":
            assert len(rest) < RUN


@given(secret=SECRETS, outer=st.sampled_from(sorted(ESCAPES)), head=st.integers(0, 30), limit=st.integers(0, 60))
def test_a_limit_never_shows_the_beginning_of_a_secret(secret: str, outer: str, head: int, limit: int) -> None:
    """Law: what follows the limit is read for that, `longest` bytes of it."""
    spelt = ESCAPES[outer](secret)
    masker = masker_of(secret)
    text = "." * head + spelt + "." * masker.longest
    assume("..." not in spelt)

    masked = masker.mask(text, limit=limit)

    assert left_of(spelt, masked.replace("." * RUN, "")) == []
    assert len(spelt.encode()) <= 2 * masker.longest


def test_a_secret_is_hidden_inside_credentials_and_tokens() -> None:
    """HTTP basic by a name of any length, and claims of a token."""
    for name in ("", "u", "us", "use", "user"):
        credential = base64.b64encode(f"{name}:{KANARIE}".encode()).decode()
        assert left_of(credential[len(name) * 2 + 4 : -4], masker_of(KANARIE).mask(f"Basic {credential}")) == []
    for claim in ("k", "ke", "key"):
        claims = base64.urlsafe_b64encode(json.dumps({claim: KANARIE}).encode()).decode().rstrip("=")
        masked = masker_of(KANARIE).mask(f"eyJhbGciOiJIUzI1NiJ9.{claims}.c2ln")
        assert MASK in masked
        assert left_of(claims[10:-4], masked) == []


def test_a_key_is_hidden_however_its_lines_end() -> None:
    """As a file has them, as Windows does, as JSON writes them, joined by blanks, and not at all."""
    body = base64.b64encode(bytes(range(144))).decode()
    lines = ["-----BEGIN PRIVATE KEY-----", *textwrap.wrap(body, 64), "-----END PRIVATE KEY-----"]
    masker = masker_of("\n".join(lines))

    for end in ("\n", "\r\n", "\\n", "\\\\r\\\\n", " ", "", "%0A", "&#10;"):
        assert masker.mask(f"<{end.join(lines)}>") == f"<{MASK}>"


def test_ordinary_texts_are_left_as_they_are() -> None:
    """Nothing in them is taken for a secret, and no escape is undone for good."""
    masker = masker_of(
        KANARIE, "s3cr3t-token-of-okta", "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----"
    )
    for text in ("a%20b&amp;\\u0041", "kanarie", "-----BEGIN PUBLIC KEY-----", "100 % + more \\", "%", "&#x;", "\\u12"):
        assert masker.is_clean(text)
        assert masker.mask(text) == text
        assert masker.mask(text, is_cut=True) == text


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [
        (b"%41%e2%82%AC", "A€"),
        (b"%u20ac", "€"),
        (b"\\u0041\\x42\\\\u0043", "ABC"),
        (b"\\ud83d\\ude00 \\U0001f600 \\u{1F600}", "😀 😀 😀"),
        (b"&lt;&#60;&#x3c;&apos;&AMP;", "<<<'&"),
        (b"a\\nb\\\\tc", "a\nb\tc"),
        (b"\\U00110000 &nosuchentity; %4 %zz", None),
    ],
)
def test_escapes_are_undone_by_one_level(escaped: bytes, plain: str | None) -> None:
    """What is no escape stays."""
    found = undone(escaped)

    assert (found if found is None or found != escaped else None) == (None if plain is None else plain.encode())


@given(st.text(st.sampled_from('ab%25&#x6;\\u0041n"+ é'), max_size=40))
def test_what_a_place_stands_for_is_found_again(text: str) -> None:
    """Law: the spans of neighbouring bytes cover the text from left to right, on each level."""
    for level in levels(text.encode()):
        spans = [level.span_of_text(at, at + 1) for at in range(len(level.data))]
        assert all(0 <= start < stop <= len(text.encode()) for start, stop in spans)
        assert all(one[0] <= two[0] and one[1] <= two[1] for one, two in itertools.pairwise(spans))
        assert not spans or (spans[0][0], spans[-1][1]) == (0, len(text.encode()))


def test_a_text_of_nothing_but_escapes_takes_no_time() -> None:
    """However they are nested: rounds are bounded, and no run is tried from each of its places."""
    masker = masker_of(KANARIE)

    for text in ("\\" * 65536, "%25" * 20000, "&amp;" * 13000, "\\u005c" * 10000, "%4\\u00&#" * 8000):
        assert masker.mask(text, is_cut=True) == text


# Of few letters, so that they hold each other and have windows in common; around each length from which on a needle is
# looked for otherwise
NEEDLES = st.sampled_from((1, 3, 6, 7, 8, 14, 15, 16, 30, 31, 32, 70)).flatmap(
    lambda size: st.text("ab", min_size=size, max_size=size).map(str.encode)
)


@given(
    needles=st.one_of(st.lists(NEEDLES, min_size=1, max_size=size, unique=True) for size in (3, 40)),
    before=st.text("abc", max_size=70),
    after=st.text("abc", max_size=70),
    data=st.data(),
)
def test_a_look_for_many_finds_what_a_look_for_each_finds(
    needles: list[bytes], before: str, after: str, data: st.DataObject
) -> None:
    """Law: wherever it stands, of whatever length it is, and whichever others are looked for no more."""
    haystack = Haystack()
    for needle in needles:
        haystack.add(needle)
    gone = data.draw(st.sets(st.sampled_from(needles)))
    for needle in gone:
        haystack.remove(needle)
    text = before.encode() + data.draw(st.sampled_from(needles)) + after.encode()

    found = haystack.found_in(text)

    assert sorted(found) == sorted(needle for needle in needles if needle not in gone and needle in text)
