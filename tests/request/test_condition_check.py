"""A `when` judged before the merge: what is wrong with it, and where in its text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import Severity
from reconciler.manifest.code import CODES
from reconciler.models.corpus import corpus
from reconciler.models.event import event_schema
from reconciler.models.fault import Fault
from reconciler.models.webhook import Trigger
from reconciler.request.condition import MatchState, Said, When
from reconciler.request.condition_check import check_when

WORDS = (
    *("data", "event_type", "event_time", ".requester", ".email", ".emial", ".access_groups", "[0]", "has(", "size("),
    *(
        "(",
        ")",
        " && ",
        " || ",
        "!",
        " == ",
        " > ",
        "1",
        "'a'",
        "null",
        "true",
        ".exists(g, ",
        "g",
        "\n",
        "é",
        "?",
        ":",
    ),
)


def only(text: str) -> Fault:
    (fault,) = check_when(text)
    return fault


def marked(text: str, fault: Fault) -> str:
    """The characters that a fault points at."""
    assert fault.line is not None and fault.column is not None and fault.end_column is not None
    return text.split("\n")[fault.line - 1][fault.column - 1 : fault.end_column - 1]


@pytest.mark.parametrize(
    ("text", "code", "at", "hint"),
    [
        ("data.requester.emial == 'a'", "when.unknown_field", "emial", "did you mean `email`?"),
        ("data . requester . emial == 'a'", "when.unknown_field", "emial", "did you mean `email`?"),
        ("data.event_time == 1", "when.unknown_field", "event_time", "the event has it: write `event_time`"),
        ("'é👩' == data.nope", "when.unknown_field", "nope", "its fields are: id, friendly_id, "),
        ("requester.email == 'a'", "when.unknown_name", "requester", "write `data.requester.email`"),
        ("dta.id == 'a'", "when.unknown_name", "dta", "did you mean `data`?"),
        ("zzz == 'a'", "when.unknown_name", "zzz", "it knows event_type, event_time, data"),
        ("data.id.startswith('a')", "when.unknown_name", "startswith", "did you mean `startsWith`?"),
        ("lower(string(data.id)) == 'a'", "when.unknown_name", "lower", "it knows those of standard CEL"),
        ("size() > 1", "when.unknown_name", "size", "look at what stands before it and in its brackets"),
        ("data.access_groups == 1", "when.type", "==", "of a list ask size(), exists() or all()"),
        ("data.requester && true", "when.type", "&&", ""),
        ("true ? data.id == 'a' : 'b'", "when.type", "?", ""),
        ("data.id = 'a'", "when.syntax", "=", "like size(data.access_groups) > 1"),
        ("data.id == 'a", "when.syntax", "'", "like size(data.access_groups) > 1"),
        ("true &&\n  (false ||\n", "when.syntax", "|", "like size(data.access_groups) > 1"),
        ("has(data)", "when.type", "data", ""),
    ],
)
def test_each_fault_points_at_its_characters(text: str, code: str, at: str, hint: str) -> None:
    """The name that is misspelt, the operator, the place where it stops being CEL."""
    fault = only(text)

    assert (fault.code, fault.severity) == (code, Severity.ERROR)
    assert at.startswith(marked(text, fault))
    assert fault.hint.startswith(hint)


@pytest.mark.parametrize(
    "text",
    ["data.justification", "data.requester", "data.access_groups", "1", "'a'", "null", "size(data.access_groups)"],
)
def test_what_is_neither_true_nor_false_is_no_condition(text: str) -> None:
    """Also where the schema leaves open whether it is text or a number."""
    assert only(text).code == "when.not_boolean"


@pytest.mark.parametrize("text", ["(" * 40 + "true" + ")" * 40, "1" + " + 1" * 500 + " > 0", "data" + ".id" * 1000])
def test_what_nests_too_deep_is_said_to(text: str) -> None:
    """In brackets, or as a long chain; its place tells nothing."""
    assert only(text) == Fault("when.too_large", ("spec", "when"), "`when` nests too deep")


@pytest.mark.parametrize("text", ["!" * 4000 + "true", "[1," * 1000, "\\" * 4000, "has(" * 900, "'" * 4001, "\0" * 100])
def test_what_is_meant_to_break_the_parser_is_judged(text: str) -> None:
    """Within its own limits, in a process that goes on."""
    faults = check_when(text)

    assert len(faults) <= 1
    assert When(text).judge(Said({"event_type": "x"})).state is (MatchState.ERROR if faults else MatchState.YES)


def test_a_field_of_the_administrators_own_may_be_anything() -> None:
    """The schema does not know them."""
    assert check_when("has(data.custom_fields) && data.custom_fields.urgent") == ()


def test_every_misspelt_field_is_told_at_once() -> None:
    """And nothing that follows from one."""
    text = "data.requestor.foo.bar == 1 || data.access_groups.exists(g, g.integraton.nam == 'x')"

    assert [marked(text, fault) for fault in check_when(text)] == ["requestor", "integraton"]


def test_a_newer_field_is_a_warning_unless_it_is_asked_for() -> None:
    """Payloads before 2024 lack it, and the condition could not be told of them."""
    text = "data.requester.name == 'a' || data.grantee.name == 'a'"

    assert only(text).severity is Severity.WARNING
    assert marked(text, only(text)) == "data.grantee"
    assert check_when("has(data.grantee) && data.grantee.name == 'a'") == ()


def test_every_field_of_the_schema_can_be_read() -> None:
    """The types know them all, down to the last model."""
    for name, model in event_schema()["$defs"].items():
        for key in model["properties"]:
            if name == "AccessRequest":
                assert not [fault for fault in check_when(f"has(data.{key})") if fault.severity is Severity.ERROR]
    deep = "data.access_groups[0].access_units[0].resource.type.display_path == 'a'"
    assert check_when(f"{deep} && data.approvals[0].approver.email == 'a'") == ()


@given(st.lists(st.sampled_from(WORDS), max_size=12).map("".join))
def test_any_condition_is_judged_with_places_inside_its_text(text: str) -> None:
    """Whatever it is: no exception, a known code, a place that an editor can underline."""
    for fault in check_when(text):
        assert fault.code in CODES
        assert fault.path == ("spec", "when")
        if fault.line is not None and fault.column is not None and fault.end_column is not None:
            lines = text.split("\n")
            assert 1 <= fault.line <= len(lines)
            assert 1 <= fault.column <= len(lines[fault.line - 1]) + 1
            assert fault.column < fault.end_column <= len(lines[fault.line - 1]) + 2


@given(st.lists(st.sampled_from(WORDS), max_size=10).map("".join))
def test_what_passes_compiles_when_it_is_asked(text: str) -> None:
    """A condition without an error never fails for its syntax later, whatever the event."""
    if any(fault.severity is Severity.ERROR for fault in check_when(text)):
        return

    for _, event in corpus(Trigger.REQUEST_CREATED):
        verdict = When(text).judge(Said(event))
        assert verdict.state is not MatchState.ERROR or "compile" not in verdict.error


@pytest.mark.parametrize(
    "text",
    [
        'data.webhook.name.startsWith("okta-")',
        'data.webhook.labels.team == "iam" && data.count > 1',
        "has(data.last_attempt.status) && data.last_attempt.status >= 500",
        'event_type == "ReconcilerDeliveryDead" && data.deliveries.exists(d, d.reason == "expired")',
    ],
)
def test_conditions_on_operational_events_know_their_fields(text: str) -> None:
    """And access requests do not have them."""
    assert check_when(text, is_operational=True) == ()
    assert {fault.code for fault in check_when(text)} == {"when.unknown_field"}


def test_conditions_on_operational_events_know_no_access_request() -> None:
    """With a hint that fits the event."""
    (fault,) = check_when('data.requester.email == "x"', is_operational=True)
    (name,) = check_when('webhook.name == "x"', is_operational=True)

    assert (fault.code, fault.message) == ("when.unknown_field", "`data` has no field `requester`")
    assert name.hint == "write `data.webhook.name`"
