"""Sessions, wrong tokens and where a login leads: by a clock of the test's own."""

import json
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_token import ROLES, TOKENS, Clock, write_tokens

from reconciler.web.login import own_path
from reconciler.web.session import IDLE_SECONDS, LIFE_SECONDS, PER_TOKEN_MAX, SESSIONS_MAX, Sessions
from reconciler.web.throttle import ADDRESS_SECONDS, ADDRESS_TRIES, ALL_TRIES, CLEAN_SECONDS, Throttle
from reconciler.web.token import Role, Token, Tokens


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_tokens(tmp_path / "tokens.yaml")


@pytest.fixture
def tokens(file: Path) -> Tokens:
    return Tokens.load(file)


@pytest.fixture
def sessions(tokens: Tokens, clock: Clock) -> Sessions:
    return Sessions(tokens, clock=clock)


def entry(tokens: Tokens, name: str) -> Token:
    found = tokens.find(TOKENS[name])
    assert found is not None
    return found


def test_a_session_is_found_by_its_id_alone(sessions: Sessions, tokens: Tokens) -> None:
    """No id is like another, and the form's token is not the id."""
    ids = {sessions.begin(entry(tokens, name)) for name in ("reader", "operator", "operator")}

    found = [sessions.find(id_) for id_ in ids]
    assert len(ids) == 3 and all(found)
    assert not {session.form_token for session in found if session} & ids
    assert sessions.find("") is None and sessions.find("x" * 10_000) is None


def test_a_session_that_nobody_uses_ends(sessions: Sessions, tokens: Tokens, clock: Clock) -> None:
    """Each use makes it longer; a page that refreshes itself is none."""
    id_ = sessions.begin(entry(tokens, "reader"))
    clock.now += IDLE_SECONDS - 1
    assert sessions.find(id_) is not None
    clock.now += IDLE_SECONDS - 1
    assert sessions.find(id_, is_use=False) is not None

    clock.now += 1

    assert sessions.find(id_) is None and len(sessions) == 0


def test_a_session_ends_however_much_it_is_used(sessions: Sessions, tokens: Tokens, clock: Clock) -> None:
    """After a working day the token is asked for again."""
    id_ = sessions.begin(entry(tokens, "reader"))
    for _ in range(int(LIFE_SECONDS // 600) - 1):
        clock.now += 600
        assert sessions.find(id_) is not None

    clock.now += 600

    assert sessions.find(id_) is None


@pytest.mark.parametrize("change", ["taken", "rotated", "renamed", "reduced"])
def test_a_session_ends_with_its_token(sessions: Sessions, tokens: Tokens, file: Path, change: str) -> None:
    """At the next request after the file has changed; another person's stays."""
    id_, other = sessions.begin(entry(tokens, "operator")), sessions.begin(entry(tokens, "reader"))
    document = json.loads(file.read_text())
    operator = document.pop("operator")
    if change == "rotated":
        document["operator"] = {**operator, "token": "another-token-" + "0123456789abcdef" * 2}
    if change == "renamed":
        document["somebody"] = operator
    if change == "reduced":
        document["operator"] = {**operator, "roles": ["ingest"]}
    file.write_text(json.dumps(document, indent=1))

    assert sessions.find(id_) is None
    assert sessions.find(other) is not None


def test_a_session_has_the_roles_that_the_file_gives_now(sessions: Sessions, tokens: Tokens, file: Path) -> None:
    """What an entry loses, its sessions lose."""
    id_ = sessions.begin(entry(tokens, "operator"))
    document = json.loads(file.read_text())
    document["operator"]["roles"] = ["read"]
    file.write_text(json.dumps(document, indent=1))

    session = sessions.find(id_)

    assert session is not None
    assert session.token.roles == {Role.READ} and not session.may_operate


def test_one_token_has_so_many_sessions(sessions: Sessions, tokens: Tokens) -> None:
    """The one that was used least recently ends; those of others stay."""
    other = sessions.begin(entry(tokens, "reader"))
    ids = [sessions.begin(entry(tokens, "operator")) for _ in range(PER_TOKEN_MAX)]
    assert sessions.find(ids[0]) is not None  # used, so the second is the oldest

    sessions.begin(entry(tokens, "operator"))

    assert sessions.find(ids[0]) is not None and sessions.find(ids[1]) is None
    assert sessions.find(other) is not None and len(sessions) == PER_TOKEN_MAX + 1


def test_all_tokens_together_have_so_many_sessions(sessions: Sessions) -> None:
    """Memory is bounded however many entries a file has."""
    for number in range(SESSIONS_MAX + 50):
        sessions.begin(Token(f"t{number}", b"", frozenset(Role)))

    assert len(sessions) == SESSIONS_MAX


def test_an_ended_session_is_gone(sessions: Sessions, tokens: Tokens) -> None:
    """Ending it twice changes nothing."""
    id_ = sessions.begin(entry(tokens, "reader"))
    sessions.end(id_)
    sessions.end(id_)

    assert sessions.find(id_) is None


def test_only_wrong_tokens_are_counted() -> None:
    """Ten from one address, then one each six seconds."""
    throttle = Throttle()
    for _ in range(ADDRESS_TRIES):
        assert throttle.wait_seconds("192.0.2.1", now=0.0) == 0
        throttle.count("192.0.2.1", now=0.0)

    assert throttle.wait_seconds("192.0.2.1", now=0.0) == pytest.approx(ADDRESS_SECONDS)
    assert throttle.wait_seconds("192.0.2.1", now=ADDRESS_SECONDS) == 0


def test_who_guesses_from_many_addresses_is_slowed_and_nobody_else() -> None:
    """Together they get one a second; an address that has tried nothing wrong for an hour is heard all the same."""
    throttle = Throttle()
    addresses = [f"192.0.2.{number}" for number in range(ALL_TRIES)]
    for address in addresses:
        throttle.count(address, now=0.0)

    heard = 0
    for second in range(1, 601):
        for address in addresses:
            if throttle.wait_seconds(address, now=float(second)) == 0:
                heard += 1
                throttle.count(address, now=float(second))
    assert heard <= 601
    assert throttle.wait_seconds("198.51.100.7", now=600.0) == 0


def test_a_wrong_token_is_forgotten_after_an_hour() -> None:
    """Then an address counts as clean again, while others go on."""
    throttle = Throttle()
    throttle.count("198.51.100.7", now=0.0)
    for number in range(2 * ALL_TRIES):
        throttle.count(f"192.0.2.{number}", now=CLEAN_SECONDS - 1)

    assert throttle.wait_seconds("198.51.100.7", now=CLEAN_SECONDS - 1) > 0
    assert throttle.wait_seconds("198.51.100.7", now=CLEAN_SECONDS) == 0


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
    ],
)
def test_a_network_of_ipv6_is_one_address(one: str, other: str, is_same: bool) -> None:
    """Who has one has all 2**64 of them."""
    throttle = Throttle()
    for _ in range(ADDRESS_TRIES):
        throttle.count(one, now=0.0)

    assert (throttle.wait_seconds(other, now=0.0) > 0) is is_same


HERE = "https://daemon.example.com:8420/login"


@pytest.mark.parametrize("text", ["/", "/deliveries?state=dead&limit=2", "/events/a%20b%2Fc", "/webhooks/x/pause"])
def test_a_login_leads_back(text: str) -> None:
    """To the page that was asked for, with its query."""
    assert own_path(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "deliveries",
        "https://evil.example.com/",
        "//evil.example.com/",
        "///evil.example.com",
        "/\\evil.example.com",
        "\\\\evil.example.com",
        "/\t/evil.example.com",
        "/\n/evil.example.com",
        " //evil.example.com",
        "javascript:alert(1)",
        "/x\r\nset-cookie: a=b",
        "/login?next=/login",
        "/logout",
        "/v1/webhooks",
        "/static/page.css",
        "//[",
        "/" + "x" * 4000,
    ],
)
def test_a_login_leads_nowhere_else(text: str) -> None:
    """Neither to another site, nor to what is no page, nor round and round."""
    assert own_path(text) == "/"


@given(st.text(alphabet=st.sampled_from("/\\\t\r\n:@.?#%evil ") | st.characters(), max_size=24))
def test_wherever_a_login_leads_is_here(text: str) -> None:
    """Law: read as browsers read it, `next` stays on this origin."""
    found = own_path(text)

    assert found.startswith("/") and not found.startswith("//")
    as_browsers = found.translate({9: None, 10: None, 13: None, 92: "/"}).strip()
    assert urlsplit(urljoin(HERE, as_browsers)).netloc == "daemon.example.com:8420"


def test_the_roles_of_these_tests_are_all_that_there_are() -> None:
    """A role that is new must be thought of here."""
    assert {role for roles in ROLES.values() for role in roles} == set(Role)
