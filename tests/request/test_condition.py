"""`when`: what a condition sees, what it says, and that it never says no where it cannot tell."""

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_match_laws import json_values, requests

from reconciler import jsontext
from reconciler.models.corpus import corpus
from reconciler.models.webhook import Trigger
from reconciler.request.condition import (
    ERROR_MAX_CHARACTERS,
    MatchState,
    Said,
    Verdict,
    When,
    compile_when,
    with_null_guards,
)

SAID: dict[str, Any] = jsontext.loads("""{
  "event_type": "AccessRequestCreated", "event_time": 1696263265.851898000,
  "data": {
    "id": "req-1", "requester": {"name": "Ann \\ud83d", "email": "ann@example.com"}, "grantee": null,
    "access_duration_in_seconds": 3600.00, "justification": "12", "creation_date": 1e400,
    "access_groups": [{"integration": {"name": "db-prod"}, "access_units": []}, {"integration": null}],
    "custom_fields": {"level": 3, "urgent": true, "big": 123456789012345678901234567890, "a b": "c"}
  }
}""")


def judge(text: str, payload: dict[str, Any] = SAID) -> Verdict:
    return compile_when(text).judge(Said(payload))


def state(text: str, payload: dict[str, Any] = SAID) -> str:
    return judge(text, payload).state.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("size(data.access_groups) > 1", "yes"),
        ("size(data.access_groups) > 2", "no"),
        ("event_type == 'AccessRequestCreated'", "yes"),
        ("event_time > 1696263265.0", "yes"),
        ("data.access_duration_in_seconds > 3599", "yes"),
        ("data.access_duration_in_seconds == 3600", "yes"),
        ("data.custom_fields.level >= 3.0", "yes"),
        ("data.custom_fields.urgent", "yes"),
        ("data.custom_fields['a b'] == 'c'", "yes"),
        ("data.custom_fields.big > 1e29", "yes"),
        ("data.creation_date > 5", "yes"),
        ("int(data.justification) == 12", "yes"),
        ("data.requester.email.endsWith('@example.com')", "yes"),
        ("data.requester.name.startsWith('Ann')", "yes"),
        ("data.access_groups.exists(g, g.integration != null && g.integration.name.matches('-prod$'))", "yes"),
        ("data.grantee == null", "yes"),
        ("data.requester.email in ['bob@example.com']", "no"),
        ("  // a remark\n  true\n", "yes"),
    ],
)
def test_a_condition_sees_the_event_as_it_is(text: str, expected: str) -> None:
    """Numbers compare as numbers, whatever digits they came with; text that UTF-8 cannot carry harms nothing."""
    assert judge(text) == Verdict(MatchState(expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("has(data.requester)", "yes"),
        ("has(data.requester.email)", "yes"),
        ("has(data.access_bundle)", "no"),  # missing
        ("has(data.grantee)", "no"),  # null
        ("has(data.grantee) && data.grantee.name == 'x'", "no"),
        ("!has(data.grantee) || data.grantee.name == 'x'", "yes"),
        ("data.access_groups.exists(g, has(g.integration) && g.integration.name == 'db-prod')", "yes"),
        ("has( data.grantee ) ? data.grantee.name == 'x' : true", "yes"),
        ("data.requester.email != 'has(data.grantee)'", "yes"),
        ("has(data.custom_fields.level) && !has(data.custom_fields.none)", "yes"),
    ],
)
def test_has_is_true_of_what_is_there_and_not_null(text: str, expected: str) -> None:
    """Senders write null for what there is not; a condition that asked must not fail on it."""
    assert judge(text) == Verdict(MatchState(expected))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("data.access_bundle.name == 'x'", "the event has no field `access_bundle`"),
        ("data.custom_fields.none == 'x'", "the event has no field `none`"),
        ("data.grantee.name == 'x'", "a field is read from what is null or no object"),
        ("data.grantee > 5", "`>` cannot take null, int"),
        ("data.grantee.contains('x')", "`contains` cannot take null, string"),
        ("data.access_groups[7].integration.name == 'x'", "index error: index=7 size=2"),
        ("int(data.requester.email) == 1", "cannot convert string to int"),
        ("1 / (size(data.access_groups) - 2) == 1", "divide by zero"),
        ("data.requester.email.matches(data.custom_fields['a b'] + '(')", "invalid regular expression: missing ): c("),
        ("data.requester.name", "it is neither true nor false: string"),
        ("data.grantee", "it is neither true nor false: null"),
        ("1 +", "it does not compile: syntax error: mismatched input '<EOF>'"),
        ("'\ud800' == ''", "it does not compile: it holds a lone surrogate, which UTF-8 cannot carry"),
        ("1" + " + 1" * 500 + " > 0", "it does not compile: exceeded max recursion depth of 32 when parsing"),
        ("lower(data.id) == ''", "it does not compile: undeclared reference to 'lower' (in container '')"),
    ],
)
def test_what_cannot_be_told_is_an_error_with_the_reason(text: str, error: str) -> None:
    """Never a silent no; also for a condition that an older version let pass and this one cannot compile."""
    assert judge(text) == Verdict(MatchState.ERROR, error)


def test_an_error_that_does_not_matter_to_the_result_is_none() -> None:
    """CEL's `&&` and `||` take what decides from either side."""
    assert state("data.none == 1 || true") == "yes"
    assert state("data.none == 1 && false") == "no"


def test_a_condition_that_goes_through_too_much_is_an_error() -> None:
    """A million steps would hold up every event behind this one."""
    many = {"event_type": "x", "data": {"access_groups": [{"n": number} for number in range(200)]}}
    text = "data.access_groups.all(a, data.access_groups.all(b, data.access_groups.all(c, c.n < 1000)))"

    verdict = judge(text, many)

    assert verdict == Verdict(MatchState.ERROR, "iteration budget exceeded")


def test_a_pattern_that_would_backtrack_for_ever_is_matched_in_linear_time() -> None:
    """RE2 answers what others would not in a lifetime; the suite's own timeout is the judge."""
    text = "data.justification.matches('^(a+)+$')"

    assert state(text, {"event_type": "x", "data": {"justification": "a" * 50_000 + "b"}}) == "no"


def test_a_long_error_is_cut() -> None:
    """It is stored, logged and shown."""
    error = judge(f"data.{'x' * 1000} == 1").error

    assert len(error) == ERROR_MAX_CHARACTERS
    assert error.endswith("…")


@pytest.mark.parametrize(
    ("text", "guarded"),
    [
        ("true", "true"),
        ("has(a.b)", "(has(a.b) && a.b != null)"),
        ("!has (a.b) || has(a['x)'].c)", "!(has(a.b) && a.b != null) || (has(a['x)'].c) && a['x)'].c != null)"),
        ("[has(a.b)].all(x, x)", "[(has(a.b) && a.b != null)].all(x, x)"),
        (
            "has(a[has(b.c) ? 0 : 1].d)",
            "(has(a[(has(b.c) && b.c != null) ? 0 : 1].d) && a[(has(b.c) && b.c != null) ? 0 : 1].d != null)",
        ),
        ("'has(a.b)' == \"has(\"", "'has(a.b)' == \"has(\""),
        ("'''has('a')''' == r'\\'", "'''has('a')''' == r'\\'"),
        ("'\\'has(' == a.b", "'\\'has(' == a.b"),
        ("true // has(a.b\n", "true // has(a.b\n"),
        ("a.has(b.c) || hash(x) || xhas(y)", "a.has(b.c) || hash(x) || xhas(y)"),
        ("has(a.b", "has(a.b"),
        ("has(a.b))", "has(a.b))"),
    ],
)
def test_null_is_asked_about_where_has_stands_and_nowhere_else(text: str, guarded: str) -> None:
    """Texts, remarks and other names stay as they are; so does what would not compile."""
    assert with_null_guards(text) == guarded


@given(st.text("has(a.b)'\"\\ /r\n&!", max_size=40))
def test_any_text_is_judged_and_never_raises(text: str) -> None:
    """A store may hold whatever an earlier version let pass."""
    assert When(text).judge(Said(SAID)).state in MatchState
    assert isinstance(with_null_guards(text), str)


@given(st.one_of(requests(), json_values), json_values)
def test_any_event_is_judged_and_never_raises(data: Any, time: Any) -> None:
    """Whatever is missing, null or of another type; and the event is not changed by it."""
    payload = {"event_type": "AccessRequestCreated", "event_time": time, "data": data}
    before = copy.deepcopy(payload)

    verdict = judge("has(data.requester) && data.access_groups.all(g, has(g.integration) && g != event_time)", payload)

    assert (verdict.state is MatchState.ERROR) == bool(verdict.error)
    assert payload == before


@pytest.mark.parametrize("trigger", Trigger)
def test_the_built_in_events_can_be_judged(trigger: Trigger) -> None:
    """Hostile text, nulls, numbers for text: at worst an error."""
    for name, event in corpus(trigger):
        assert state("has(data.id) && size(string(data.id)) > 0", event) != "error" or name == "no data"


def test_threads_may_judge_the_same_condition_at_once() -> None:
    """Large requests are judged beside the loop, while it judges others."""
    condition = When("size(data.access_groups) > 1 && has(data.requester)")

    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda _: condition.judge(Said(SAID)).state, range(400)))

    assert set(verdicts) == {MatchState.YES}
