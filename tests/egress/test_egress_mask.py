"""No secret in anything people see, in whichever form a receiver gives it back."""

import base64
import html
import json
import threading
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler.egress.mask import MASK, REMEMBERED_MAX, Masker

SECRET = 'tök/en+"s3cr3t"&=\\'
TEXT = st.characters(codec="utf-8")
SECRETS = st.text(TEXT, min_size=8, max_size=60)


def masker_of(*values: str) -> Masker:
    """A masker that has seen these values."""
    masker = Masker()
    for value in values:
        masker.add(value)
    return masker


def spellings(value: str) -> dict[str, str]:
    """How receivers echo a value, written down independently of the masker."""
    return {
        "raw": value,
        "json": json.dumps(value, ensure_ascii=False)[1:-1],
        "json in ascii": json.dumps(value)[1:-1],
        "json by php": json.dumps(value)[1:-1].replace("/", "\\/"),
        "json in json": json.dumps(json.dumps(value, ensure_ascii=False), ensure_ascii=False)[3:-3],
        "json by go": json_by_go(value),
        "url": quote(value, safe=""),
        "url path": quote(value),
        "form": quote_plus(value),
        "base64": base64.b64encode(value.encode()).decode(),
        "base64 for urls": base64.urlsafe_b64encode(value.encode()).decode(),
        "html": html.escape(value),
        "python": ascii(value)[1:-1],
        "python bytes": repr(value.encode())[2:-1],
    }


def json_by_go(value: str) -> str:
    """encoding/json escapes all of these, so that its JSON may stand inside HTML."""
    text = json.dumps(value, ensure_ascii=False)[1:-1]
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


@pytest.mark.parametrize("spelling", spellings(SECRET))
def test_a_secret_is_hidden_in_every_spelling(spelling: str) -> None:
    """What stands around it stays readable."""
    masked = masker_of(SECRET).mask(f"before {spellings(SECRET)[spelling]} after")

    assert masked == f"before {MASK} after"


@given(secret=SECRETS, before=st.text(TEXT, max_size=30), after=st.text(TEXT, max_size=30))
def test_nothing_of_a_secret_is_left(secret: str, before: str, after: str) -> None:
    """For any secret and any text around it, no spelling of the secret survives."""
    masker = masker_of(secret)
    for text in spellings(secret).values():
        assume(text not in before + after and text not in MASK)
        masked = masker.mask(before + text + after)

        assert text not in masked
        assert MASK in masked


@given(secret=SECRETS, before=st.binary(max_size=9), after=st.binary(max_size=9), is_url=st.booleans())
def test_base64_hides_a_secret_at_each_alignment(secret: str, before: bytes, after: bytes, is_url: bool) -> None:
    """`user:password` of HTTP basic authentication begins anywhere; of the secret at most its edges' bits remain."""
    encode = base64.urlsafe_b64encode if is_url else base64.b64encode
    raw = secret.encode()
    text = encode(before + raw + after).decode()

    masked = masker_of(secret).mask(text)

    first, last = -(-len(before) * 8 // 6), (len(before) + len(raw)) * 8 // 6
    assert MASK in masked
    assert text[first:last] not in masked


def test_json_as_dotnet_writes_it_is_hidden() -> None:
    """Its encoder spells quotes and plus signs as code points in upper case."""
    assert masker_of("ab+cd\"ef'gh").mask("<ab\\u002Bcd\\u0022ef\\u0027gh>") == f"<{MASK}>"


def test_overlapping_secrets_leave_no_rest() -> None:
    """One after the other would leave the tail of the longer one."""
    masker = masker_of("abcdefgh", "efghijkl", "abcdefghij-and-more")

    assert masker.mask("<abcdefghijkl>") == f"<{MASK}>"
    assert masker.mask("<abcdefghij-and-more>") == f"<{MASK}>"
    assert masker.mask("<abcdefghabcdefgh>") == f"<{MASK}{MASK}>"


def test_a_rotated_secret_stays_hidden() -> None:
    """The old value may still be valid, and old answers still hold it."""
    masker = masker_of("old-value-1")
    masker.add("new-value-2")

    assert masker.mask("old-value-1 new-value-2") == f"{MASK} {MASK}"


@given(secret=SECRETS, head=st.text(TEXT, max_size=20), tail=st.text(TEXT, max_size=20), limit=st.integers(0, 100))
def test_a_cut_never_shows_the_beginning_of_a_secret(secret: str, head: str, tail: str, limit: int) -> None:
    """The text is judged with what follows the cut."""
    assume(secret not in head + tail)

    masked = masker_of(secret).mask(head + secret + tail, limit=limit)

    if limit <= len(head):
        assert masked == head[:limit]
    else:
        assert masked.startswith(head + MASK) or MASK in masked
        assert len(masked) <= limit + len(MASK)


def test_without_secrets_a_text_is_itself() -> None:
    """Nothing to hide."""
    assert Masker().mask("plain") == "plain"
    assert Masker().mask("plain", limit=2) == "pl"


def test_what_was_remembered_before_a_secret_was_known_is_hidden_afterwards() -> None:
    """Headers come again with each attempt; a secret may be read between two of them."""
    masker = Masker()
    answered, sent = (b"x-echo", b"caf\xc3\xa9 s3cr3t-token"), ("authorization", "Bearer s3cr3t-token")
    assert masker.mask_header(answered) == ("x-echo", "café s3cr3t-token")
    assert masker.mask_header(sent) == sent

    masker.add("s3cr3t-token")

    for _ in range(2):
        assert masker.mask_header(answered) == ("x-echo", "café ***")
        assert masker.mask_header(sent) == ("authorization", "Bearer ***")


def test_a_header_is_text_that_every_store_takes() -> None:
    """Whatever a receiver or an event put into it."""
    masker = Masker()

    assert masker.mask_header((b"x-a\xff", b"b\xff")) == ("x-a\ufffd", "b\ufffd")
    assert masker.mask_header(("x-a", "b\ud800")) == ("x-a", "b?")


def test_what_is_remembered_is_bounded() -> None:
    """Each attempt has headers of its own too, such as its time and its signature."""
    masker = Masker()
    masker.add("s3cr3t-token")
    for number in range(3 * REMEMBERED_MAX):
        assert masker.mask_header(("x-a", f"{number} s3cr3t-token")) == ("x-a", f"{number} ***")
        assert masker.mask_header((b"date", b"%d" % number)) == ("date", str(number))

    assert len(masker._headers) <= REMEMBERED_MAX


@given(secrets=st.lists(SECRETS, min_size=1, max_size=3), text=st.text(TEXT, max_size=80), data=st.data())
def test_the_quick_look_sees_what_the_whole_one_sees(secrets: list[str], text: str, data: st.DataObject) -> None:
    """Law: a text is clean exactly where masking changes nothing; but for a mask in the place of asterisks."""
    masker = masker_of(*secrets)
    if data.draw(st.booleans()):
        text += data.draw(st.sampled_from(list(spellings(secrets[0]).values()))) + text

    assert masker.is_clean(text) or masker.mask(text) != text or MASK in text
    assert masker.mask(text) == text or not masker.is_clean(text)


@given(
    st.lists(st.tuples(st.booleans(), st.text("ab", min_size=8, max_size=12)), max_size=12), st.text("ab", max_size=40)
)
def test_secrets_that_come_and_go_leave_what_those_that_stayed_make(steps: list[tuple[bool, str]], text: str) -> None:
    """Whatever the order in which values that hold each other are added and removed."""
    masker, stayed = Masker(), dict[str, None]()
    for is_added, value in steps:
        if is_added:
            masker.add(value)
            stayed[value] = None
        else:
            masker.remove(value)
            stayed.pop(value, None)
    fresh = Masker()
    for value in stayed:
        fresh.add(value)

    assert masker.mask(text) == fresh.mask(text)
    assert masker.is_clean(text) == fresh.is_clean(text)


def test_threads_may_share_a_masker() -> None:
    """Keys are read and sign in threads of their own, while the loop masks what comes in."""
    masker, secret = masker_of(SECRET), f"{SECRET}-of-the-loop"
    masker.add(secret)
    is_over = threading.Event()
    failures: list[Exception] = []

    def come_and_go() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            try:
                masker.add(f"token-{number % 40}-of-a-thread")
                masker.remove(f"token-{(number + 20) % 40}-of-a-thread")
            except Exception as exc:
                failures.append(exc)

    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(300):
            assert masker.mask(f"{number} {secret} {number}", is_cut=True) == f"{number} {MASK} {number}"
            assert masker.mask_header(("x-a", f"{number % 7} {secret}")) == ("x-a", f"{number % 7} {MASK}")
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_how_much_is_read_beyond_a_limit_follows_what_is_known() -> None:
    """As access tokens come and go."""
    masker = masker_of("x" * 10)
    masker.add("y" * 1000)
    assert masker.longest == 8000

    masker.remove("y" * 1000)

    assert masker.longest == 80
