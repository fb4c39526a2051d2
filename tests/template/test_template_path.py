"""Paths: what they find in an event, and what the event's schema says of them before there is one."""

from typing import Any

import pytest
from template_sample import JSON

from reconciler.template import check_body, compile_template
from reconciler.template.lookup import walk

EVENT: dict[str, Any] = {
    "a": {"b": {"c": "deep"}, "0": "zero", "length": "own", "x y": 1, "this": 2},
    "list": [{"n": "first"}, ["in", {"k": "v"}], None],
    "text": "héllo 👩‍🚀",
    "n": 5,
    "yes": True,
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b.c", "deep"),
        ("a/b/c", "deep"),
        ("a.[b].c", "deep"),
        ("[a].[b].[c]", "deep"),
        ("this.a.b.c", "deep"),
        ("./a.b.c", "deep"),
        ("@root.a.b.c", "deep"),
        ("a.[x y]", 1),
        ("a.[this]", 2),
        ("a.[0]", "zero"),
        ("a.0", "zero"),
        ("a.length", "own"),
        ("list.[0].n", "first"),
        ("list.0.n", "first"),
        ("list.[1].[1].k", "v"),
        ("list.1.0", "in"),
        ("list.length", 3),
        ("list.[1].length", 2),
        ("text.length", 11),
        ("list.[2].n", None),
        ("list.[3]", None),
        ("list.[-1]", None),
        ("list.[00]", None),
        ("list.[99999999999999999999]", None),
        ("list.n", None),
        ("text.[0]", "h"),
        ("text.[99]", None),
        ("text.upper.[0]", None),
        ("text.upper", None),
        ("n.real", None),
        ("n.[0]", None),
        ("yes.x", None),
        ("a.b.c.d", None),
        ("a.__class__", None),
        ("a.keys", None),
        ("list.append", None),
        ("__class__", None),
        ("missing.x.[0].y", None),
    ],
)
def test_a_path_finds_keys_indices_and_lengths_only(path: str, value: Any) -> None:
    """Nothing of Python's objects is reachable; what is not there is null."""
    rendered = compile_template(f"[{{{{{path}}}}}]").render(EVENT)

    assert rendered == compile_template("[{{v}}]").render({"v": value})


@pytest.mark.parametrize("form", ["{{this}}", "{{.}}", "{{@root}}"])
def test_the_whole_event_can_be_written(form: str) -> None:
    """As JSON outside a string."""
    assert compile_template(form).render({"a": [1, "x"]}) == '{"a":[1,"x"]}'


@pytest.mark.parametrize("context", [EVENT, [], ["x"], "text", 5, None, True, {"list": {"0": {"n": 1}}}], ids=repr)
@pytest.mark.parametrize("path", ["list.0.n", "[0]", "length", "a.b", "text.0", "list.1.1.k", "this.0", "[0].length"])
def test_a_compiled_path_finds_what_a_walk_finds(path: str, context: Any) -> None:
    """The short way of compiled code and the plain way agree, also where the event is no object."""
    names = path.removeprefix("this.").replace("[", "").replace("]", "").split(".")

    rendered = compile_template(f"[{{{{{path}}}}}]").render(context)

    assert rendered == compile_template("[{{v}}]").render({"v": walk(context, names)})


def faults_of(path: str, schema: dict[str, Any]) -> list[tuple[str, int, str, str]]:
    faults = check_body(f'{{"a": "{{{{{path}}}}}"}}', content_type=JSON, schema=schema)
    return [(fault.code, fault.column, fault.message, fault.hint) for fault in faults]


@pytest.mark.parametrize(
    "path",
    [
        "event_type",
        "event_time",
        "data",
        "this",
        "data.requester",
        "data.requester.email",
        "@root.data.requester.email",
        "data.access_groups",
        "data.access_groups.length",
        "data.access_groups.[0]",
        "data.access_groups.[0].integration.name",
        "data.access_groups.[0].[integration].name",
        "data.access_groups.0.resource_types.[1].display_path",
        "data.access_groups.[3].access_units.[2].resource.type.id",
        "data.approvals.[0].approver.email",
        "data.justification.length",
        "data.access_bundle.name",
    ],
)
def test_a_path_of_the_schema_is_no_fault(path: str, schema: dict[str, Any]) -> None:
    """Null alternatives, references, lists and open objects are followed."""
    assert faults_of(path, schema) == []


@pytest.mark.parametrize(
    ("path", "code", "column", "message", "hint"),
    [
        (
            "data.requestor.email",
            "unknown_field",
            15,
            "`data` has no field `requestor`",
            "did you mean `requester`?",
        ),
        ("event_tipe", "unknown_field", 10, "the event has no field `event_tipe`", "did you mean `event_type`?"),
        ("@root.datum", "unknown_field", 16, "the event has no field `datum`", "did you mean `data`?"),
        (
            "data.requester.zzz",
            "unknown_field",
            25,
            "`data.requester` has no field `zzz`",
            "its fields are: email, id, name",
        ),
        (
            "data.access_groups.integration.name",
            "list_without_index",
            29,
            "`data.access_groups` is a list: `integration` needs the index of an element before it",
            "write `data.access_groups.[0].integration`",
        ),
        (
            "data.access_groups.[0].access_units.resource",
            "list_without_index",
            46,
            "`data.access_groups.[0].access_units` is a list: `resource` needs the index of an element before it",
            "write `data.access_groups.[0].access_units.[0].resource`",
        ),
        (
            "data.access_groups.[0].integration.[1]",
            "unknown_field",
            45,
            "`data.access_groups.[0].integration` has no field `1`",
            "its fields are: id, name, type",
        ),
        (
            "data.id.name",
            "not_an_object",
            18,
            "`data.id` is a number or string: it has no field `name`",
            "write `{{data.id}}`",
        ),
    ],
)
def test_a_path_that_the_schema_lacks_is_an_error(
    path: str, code: str, column: int, message: str, hint: str, schema: dict[str, Any]
) -> None:
    """At the name that is wrong, with the one that was meant."""
    assert faults_of(path, schema) == [(f"template.{code}", column, message, hint)]


def test_every_wrong_path_is_reported(schema: dict[str, Any]) -> None:
    """All at once, also in plain text and inside blocks."""
    template = "{{a}} {{data.b}}\n{{#each data.access_groups}}{{integration.nam}}{{/each}}{{data.issues.status}}"

    faults = check_body(template, content_type="text/plain", schema=schema)

    assert [(fault.code, fault.line, fault.column) for fault in faults] == [
        ("template.unknown_field", 1, 3),
        ("template.unknown_field", 1, 14),
        ("template.unknown_field", 2, 43),
        ("template.unknown_field", 2, 64),
    ]


def test_a_list_of_a_closed_schema_wants_an_index() -> None:
    """Apono's integration template names a field of a list; here it is an error that says what to write."""
    issues = {"type": "array", "items": {"type": "object", "properties": {"status": {"type": "string"}}}}
    schema = {"type": "object", "properties": {"data": {"type": "object", "properties": {"issues": issues}}}}

    (fault,) = check_body("{{data.issues.status}}", content_type="text/plain", schema=schema)

    assert (fault.code, fault.hint) == ("template.list_without_index", "write `data.issues.[0].status`")


def test_a_schema_that_refers_to_itself_is_followed_as_far_as_the_path_goes() -> None:
    """And a reference in a circle ends."""
    schema: dict[str, Any] = {
        "$ref": "#/$defs/Node",
        "$defs": {"Node": {"properties": {"next": {"$ref": "#/$defs/Node"}}}, "Loop": {"$ref": "#/$defs/Loop"}},
    }

    assert check_body("{{next.next.next}}", content_type="text/plain", schema=schema) == ()
    assert len(check_body("{{next.other}}", content_type="text/plain", schema=schema)) == 1
    assert check_body("{{x.y}}", content_type="text/plain", schema={"$ref": "#/$defs/Loop", **schema}) is not None
