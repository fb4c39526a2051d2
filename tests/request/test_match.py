"""Which webhooks want an event: status, triggers, every filter, and what is missing."""

from typing import Any

import pytest

from reconciler import jsontext
from reconciler.models.event import Event, make_event
from reconciler.models.webhook import Webhook
from reconciler.request.glob import list_holds
from reconciler.request.match import Condition, judge_match, matches

PAYLOAD = """{
  "event_type": "AccessRequestCreated", "event_time": 1696263265.851898000,
  "data": {
    "id": "req-1", "friendly_id": "AR-123",
    "requester": {"id": "u-1", "name": "Ann Example", "email": "ann@example.com"},
    "grantee": {"id": "u-2", "source_id": "okta|77", "name": "Bob Example", "type": "user"},
    "access_flow": {"id": "f-1", "name": "Production"},
    "access_bundle": {"id": 9007199254740993123456789, "name": null},
    "access_groups": [
      {"integration": {"id": "i-1", "type": "Postgresql", "name": "db-prod"},
       "resource_types": [{"id": "postgresql-database", "name": "Database", "display_path": "Postgresql/Database"}],
       "access_units": [
         {"resource": {"id": "r-1", "name": "orders", "path": "db prod/orders"},
          "permission": {"id": "p-r", "name": "READ"}},
         {"resource": {"id": "r-2", "name": "secret-keys", "path": "db prod/secret-keys"},
          "permission": {"id": "p-w", "name": "WRITE"}}]},
      {"integration": {"id": "i-2", "type": "AWS", "name": "aws-dev"},
       "resource_types": [{"id": "aws-bucket", "name": "Bucket", "display_path": "AWS/Bucket"}],
       "access_units": [
         {"resource": {"id": "r-3", "name": "logs", "path": "aws dev/logs"},
          "permission": {"id": "p-w", "name": "WRITE"}}]}
    ],
    "approvals": [{"name": "Managers", "type": "group", "status": "Approved"}],
    "custom_fields": {"ticket": "OPS-7", "level": 3.10, "urgent": true, "empty": null, "teams": ["iam", "sre"]}
  }
}"""


def event_of(text: str = PAYLOAD) -> Event:
    payload = jsontext.loads(text)
    return make_event(payload, text.encode())


def event_with(**data: Any) -> Event:
    return make_event({"event_type": "AccessRequestCreated", "data": data}, b"")


def webhook_with(**spec: Any) -> Webhook:
    return Webhook.model_validate(
        {
            "metadata": {"name": "hook"},
            "spec": {"url": "https://example.com/", "triggers": ["RequestCreated"], **spec},
        },
        strict=False,
    )


def wants(filters: dict[str, Any], event: Event | None = None) -> bool:
    event = event or event_of()
    webhook = webhook_with(filters=filters)
    verdict = matches(webhook, event)
    assert verdict == all(condition.held for condition in judge_match(webhook, event))
    return verdict


@pytest.mark.parametrize("event_type", ["AccessRequestCreated", "RequestCreated"])
def test_a_webhook_with_the_trigger_wants_the_event(event_type: str) -> None:
    """Event types map onto triggers in both spellings."""
    event = make_event({"event_type": event_type, "data": {"id": "1"}}, b"")

    assert matches(webhook_with(), event)
    assert not matches(webhook_with(triggers=["RequestApproved"]), event)


def test_an_inactive_webhook_wants_nothing() -> None:
    assert not matches(webhook_with(status="inactive"), event_of())


@pytest.mark.parametrize("event_type", ["Manual", "AccessManual", "AuditLog"])
def test_an_event_of_an_unknown_type_is_wanted_by_nothing(event_type: str) -> None:
    """Manual webhooks are fired by `trigger`, never by an event."""
    event = make_event({"event_type": event_type, "data": {"id": "1"}}, b"")

    assert not matches(webhook_with(triggers=["Manual", "RequestCreated"]), event)


@pytest.mark.parametrize(
    ("glob", "text", "holds"),
    [
        ("db-prod", "db-prod", True),
        ("db-prod", "DB-prod", False),
        ("db", "db-prod", False),
        ("*-prod", "db-prod", True),
        ("*-prod", "-prod", True),
        ("db*od", "db-prod", True),
        ("*", "", True),
        ("*", "a/b\nc", True),
        ("db prod/*", "db prod/a/b", True),
        ("r-?", "r-1", True),
        ("r-?", "r-", False),
        ("r-?", "r-12", False),
        ("?", "\n", True),
        ("?", "🦀", True),
        ("a*b*c", "a-c-b-c", True),
        ("a*b*c", "acb", False),
        ("*ab*ab", "ab", False),
        ("*ab*ab", "abab", True),
        ("a**b", "ab", True),
        ("[prod] db", "[prod] db", True),
        ("[prod] db", "p db", False),
        ("{a,b}", "a", False),
        ("a.c", "abc", False),
        (r"a\*", "a*", True),
        (r"a\*", "ab", False),
        (r"a\?", "a?", True),
        (r"CORP\bob", r"CORP\bob", True),
        (r"CORP\\bob", r"CORP\bob", True),
        ("a\\", "a\\", True),
        (r"\!x", "!x", True),
        ("a!b", "a!b", True),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_a_glob_is_whole_string_and_case_sensitive(glob: str, text: str, holds: bool) -> None:
    """`*` is any text and `?` any character; a backslash takes `*`, `?`, `!` and itself as they are."""
    assert list_holds((glob,), (text,)) is holds
    if not glob.startswith("!"):
        assert list_holds((f"!{glob}",), (text,)) is not holds


def test_a_glob_takes_no_time_whatever_text_comes() -> None:
    """Text from an event cannot make a glob backtrack."""
    assert not list_holds(("*a" * 40 + "b",), ("a" * 100_000,))


@pytest.mark.parametrize(
    ("globs", "identities", "holds"),
    [
        ((), (), True),
        ((), ("a",), True),
        (("a",), (), False),
        (("!a",), (), True),
        (("a", "b"), ("b",), True),
        (("a", "!b"), ("a", "b"), False),
        (("!b",), ("a", "b"), False),
        (("!b",), ("a", "c"), True),
        (("*", "!*-test"), ("db-test", "i-1"), False),
        (("!!x",), ("!x",), False),
    ],
)
def test_a_list_needs_one_positive_and_no_negative(
    globs: tuple[str, ...], identities: tuple[str, ...], holds: bool
) -> None:
    """No positives, or one matches; and no negative matches any identity of the thing."""
    assert list_holds(globs, identities) is holds


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"requester": ["ann@*"]}, True),
        ({"requester": ["Ann Example"]}, True),
        ({"requester": ["u-1"]}, True),
        ({"requester": ["u-2"]}, False),
        ({"requester": ["*", "!*@example.com"]}, False),
        ({"grantee": ["okta|77"]}, True),
        ({"grantee": ["user"]}, False),
        ({"access_flow": ["Prod*"]}, True),
        ({"access_flow": ["!f-1"]}, False),
        ({"access_bundle": ["9007199254740993123456789"]}, True),
        ({"access_bundle": ["9.007*"]}, False),
        ({"approval": "manual"}, True),
        ({"approval": "automatic"}, False),
        ({"requester": ["ann@*"], "access_flow": ["Staging"]}, False),
        ({"resource_type": ["Postgresql/*"]}, True),
        ({"resource_type": ["postgresql-database"]}, True),
        ({"resource_type": ["Database"]}, True),
        ({"resource": ["db prod/orders"]}, True),
        ({"permission": ["READ"]}, True),
    ],
)
def test_filters_ask_by_every_name_of_a_thing(filters: dict[str, Any], wanted: bool) -> None:
    """A list tries id, name, path, e-mail, display path and source id; names are ANDed; digits are kept."""
    assert wants(filters) is wanted


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"integration": {"type": ["Postgresql"], "name": ["*-prod"]}}, True),
        ({"integration": {"type": ["Postgresql"], "name": ["aws-dev"]}}, False),
        ({"integration": {"id": ["i-2"]}, "resource": ["logs"]}, True),
        ({"integration": {"id": ["i-1"]}, "resource": ["logs"]}, False),
        ({"integration": {"type": ["AWS"]}, "resource_type": ["postgresql-*"]}, False),
        ({"resource_type": ["aws-*"], "permission": ["READ"]}, False),
        ({"resource": ["orders"], "permission": ["READ"]}, True),
        ({"resource": ["orders"], "permission": ["WRITE"]}, False),
        ({"integration": {"name": ["!*-prod"]}, "permission": ["WRITE"]}, True),
        ({"integration": {"name": ["!*-prod"]}, "permission": ["READ"]}, False),
    ],
)
def test_group_filters_hold_in_one_group_and_one_unit(filters: dict[str, Any], wanted: bool) -> None:
    """Integration and resource filters in the same access group, resource and permission in the same access unit."""
    assert wants(filters) is wanted


def test_a_negative_rules_out_the_thing_not_the_request() -> None:
    """`!secret-*` still wants a request that also is about something else."""
    assert wants({"resource": ["!secret-*"]})
    assert not wants({"resource": ["!secret-*"], "permission": ["WRITE"], "integration": {"type": ["Postgresql"]}})


def test_a_negative_on_any_identity_rules_the_thing_out() -> None:
    event = event_with(access_groups=[{"access_units": [{"resource": {"id": "r-1", "name": "a", "path": "prod/a"}}]}])

    assert not wants({"resource": ["!prod/*"]}, event)
    assert not wants({"resource": ["a", "!r-1"]}, event)


def test_types_of_resources_stand_in_for_missing_resource_types() -> None:
    event = event_with(access_groups=[{"access_units": [{"resource": {"type": {"display_path": "AWS/Bucket"}}}]}])

    assert wants({"resource_type": ["AWS/*"]}, event)
    assert not wants({"resource_type": ["!AWS/*"]}, event)


@pytest.mark.parametrize(
    ("globs", "wanted"),
    [
        ({"ticket": ["OPS-*"]}, True),
        ({"ticket": ["!OPS-*"]}, False),
        ({"level": ["3.10"]}, True),
        ({"level": ["3.1"]}, False),
        ({"urgent": ["true"]}, True),
        ({"teams": ["sre"]}, True),
        ({"teams": ["!sre"]}, False),
        ({"empty": ["*"]}, False),
        ({"empty": ["!x"]}, True),
        ({"absent": ["*"]}, False),
        ({"absent": ["!x"]}, True),
        ({"ticket": ["OPS-*"], "absent": ["*"]}, False),
    ],
)
def test_custom_fields_are_matched_by_key(globs: dict[str, list[str]], wanted: bool) -> None:
    """A missing or null field passes lists without positives only; numbers are their digits, lists any of theirs."""
    assert wants({"custom_fields": globs}) is wanted


@pytest.mark.parametrize("approvals", [None, []])
def test_no_approvals_are_automatic(approvals: Any) -> None:
    assert wants({"approval": "automatic"}, event_with(approvals=approvals))
    assert wants({"approval": "automatic"}, event_with())
    assert not wants({"approval": "manual"}, event_with(approvals=approvals))


NOTHING_KNOWN = [
    {},
    {"access_groups": None, "requester": None, "custom_fields": None},
    {"access_groups": []},
    {"access_groups": [{}]},
    {"access_groups": [{"integration": None, "resource_types": None, "access_units": None}]},
    {"access_groups": [{"integration": {"id": None}, "resource_types": [], "access_units": []}]},
    {"access_groups": [{"access_units": [{"resource": None, "permission": None}]}]},
    {"access_groups": [{"access_units": [{"resource": {"type": None}, "permission": {}}]}]},
]


@pytest.mark.parametrize("data", NOTHING_KNOWN)
@pytest.mark.parametrize(
    "name", ["resource_type", "resource", "permission", "requester", "grantee", "access_flow", "access_bundle"]
)
def test_what_is_missing_passes_lists_without_positives(name: str, data: dict[str, Any]) -> None:
    assert wants({name: ["!x"]}, event_with(**data))
    assert not wants({name: ["*"]}, event_with(**data))
    assert not wants({name: ["*", "!x"]}, event_with(**data))


@pytest.mark.parametrize("data", NOTHING_KNOWN)
@pytest.mark.parametrize("name", ["id", "name", "type"])
def test_a_missing_integration_passes_lists_without_positives(name: str, data: dict[str, Any]) -> None:
    assert wants({"integration": {name: ["!x"]}}, event_with(**data))
    assert not wants({"integration": {name: ["*"]}}, event_with(**data))


def test_an_event_without_data_is_judged() -> None:
    for payload in ({"event_type": "RequestCreated"}, {"event_type": "RequestCreated", "data": None}):
        event = make_event(payload, b"")

        assert wants({}, event)
        assert wants({"requester": ["!x"]}, event)
        assert not wants({"requester": ["*"]}, event)


def test_an_explanation_names_every_condition_with_what_was_wanted_and_found() -> None:
    """In the order of the spec; group filters also together."""
    webhook = webhook_with(
        filters={
            "integration": {"type": ["AWS"]},
            "resource": ["orders"],
            "requester": ["!ann@*"],
            "approval": "manual",
            "custom_fields": {"absent": ["x"]},
        }
    )

    assert judge_match(webhook, event_of()) == (
        Condition("status", True, "active", "active"),
        Condition("triggers", True, "RequestCreated", "RequestCreated"),
        Condition("filters.integration.type", True, "AWS", "Postgresql; AWS"),
        Condition(
            "filters.resource",
            True,
            "orders",
            "r-1, orders, db prod/orders; r-2, secret-keys, db prod/secret-keys; r-3, logs, aws dev/logs",
        ),
        Condition("filters", False, "integration.type, resource in one access group and unit", "0 of 2 groups"),
        Condition("filters.requester", False, "!ann@*", "u-1, Ann Example, ann@example.com"),
        Condition("filters.approval", True, "manual", "manual"),
        Condition("filters.custom_fields.absent", False, "x", "nothing"),
    )


def test_an_explanation_says_which_trigger_was_missing() -> None:
    event = make_event({"event_type": "x" * 1000}, b"")

    status, triggers = judge_match(webhook_with(status="inactive"), event)

    assert status == Condition("status", False, "active", "inactive")
    assert not triggers.held
    assert triggers.actual.startswith("none (event_type xxx")
    assert len(triggers.actual) == 256


def test_an_explanation_is_bounded() -> None:
    event = event_with(custom_fields={"note": "x" * 100_000})

    *_, note = judge_match(webhook_with(filters={"custom_fields": {"note": ["y"]}}), event)

    assert len(note.actual) == 256
