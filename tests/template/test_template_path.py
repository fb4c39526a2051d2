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


# Through blocks


def problems_of(template: str, schema: dict[str, Any], **partials: str) -> list[tuple[str, int, str]]:
    """Code, column and message of each fault of a plain text."""
    faults = check_body(template, content_type="text/plain", schema=schema, partials=partials)
    return [(fault.code.removeprefix("template."), fault.column, fault.message) for fault in faults]


@pytest.mark.parametrize(
    "template",
    [
        "{{#each data.access_groups}}{{integration.name}}{{../event_type}}{{@root.data.id}}{{@index}}{{/each}}",
        "{{#each data.access_groups as |group number|}}{{group.integration.id}}{{number}}{{integration.id}}{{/each}}",
        "{{#each data.access_groups}}{{#each access_units}}{{resource.type.id}}{{../integration.name}}"
        "{{../../data.id}}{{@../index}}{{/each}}{{/each}}",
        "{{#with data.requester}}{{email}}{{../event_time}}{{/with}}",
        "{{#with data}}{{#with requester as |who|}}{{who.name}}{{../id}}{{../../event_type}}{{/with}}{{/with}}",
        "{{#with (first data.access_groups)}}{{integration.type}}{{/with}}",
        "{{#with (lookup data 'requester')}}{{email}}{{/with}}",
        "{{#each (pluck data.approvals 'approver')}}{{email}}{{/each}}",
        "{{#each (pluck data.approvals 'approver.email')}}{{this}}{{this.length}}{{/each}}",
        "{{#if data.approvals}}{{data.approvals.[0].name}}{{else}}{{data.id}}{{/if}}",
        "{{#data.access_groups}}{{integration.name}}{{/data.access_groups}}",
        "{{#data.requester}}{{email}}{{../event_type}}{{/data.requester}}",
        "{{^data.approvals}}{{data.id}}{{/data.approvals}}",
        "{{#each data.custom_fields}}{{@key}}{{this}}{{this.anything}}{{/each}}",
        "{{#each data.requester}}{{@key}}{{this}}{{/each}}",
        "{{#each data.access_groups}}{{#if @last}}{{integration.name}}{{else if @first}}x{{/if}}{{/each}}",
        "{{#each data.access_groups}}{{#each ../data.approvals}}{{name}}{{../integration.name}}{{/each}}{{/each}}",
        "{{#*inline 'who'}}{{name}}{{/inline}}{{> who data.requester}}{{> who data.access_flow}}",
        "{{> who data.requester}}{{> group}}",
        "{{> hash data.requester title=event_type}}",
        "{{#> wrap data.requester}}{{email}}{{/wrap}}",
        "{{join (pluck data.access_groups 'integration.name')}}{{count data.approvals}}{{upper data.justification}}",
        "{{default data.access_bundle.name data.access_flow.name 'none'}}",
        "{{#each data.access_groups}}{{#with integration}}{{#with ..}}{{access_units}}{{/with}}{{/with}}{{/each}}",
    ],
)
def test_paths_in_blocks_are_those_of_their_context(template: str, schema: dict[str, Any]) -> None:
    """Items, chosen contexts, block parameters, parents and what a partial is given."""
    partials = {
        "who": "{{name}}{{id}}",
        "group": "{{#each data.access_groups}}{{integration.name}}{{/each}}",
        "hash": "{{title}}{{email}}",
        "wrap": "{{name}}{{> @partial-block}}",
    }

    assert problems_of(template, schema, **partials) == []


@pytest.mark.parametrize(
    ("template", "code", "column", "message"),
    [
        (
            "{{#each data.access_groups}}{{name}}{{/each}}",
            "unknown_field",
            31,
            "an item of `data.access_groups` has no",
        ),
        ("{{#each data.access_groups}}{{../dat.id}}{{/each}}", "unknown_field", 34, "the event has no field `dat`"),
        (
            "{{#each data.approvals as |a|}}{{a.nam}}{{/each}}",
            "unknown_field",
            36,
            "an item of `data.approvals` has no",
        ),
        ("{{#with data.requester}}{{mail}}{{/with}}", "unknown_field", 27, "`data.requester` has no field `mail`"),
        ("{{#if data.requestr}}x{{/if}}", "unknown_field", 12, "`data` has no field `requestr`"),
        ("{{#if (eq data.idd 1)}}x{{/if}}", "unknown_field", 16, "`data` has no field `idd`"),
        ("{{#each data.id}}{{/each}}", "not_a_list", 9, "`data.id` is a number or string: `#each` needs"),
        (
            "{{#each data.access_groups.integration}}{{/each}}",
            "list_without_index",
            28,
            "`data.access_groups` is a list",
        ),
        ("{{#each data.access_groups}}{{#each access_unit}}{{/each}}{{/each}}", "unknown_field", 37, "an item of"),
        ("{{../event_type}}", "outside", 3, "`../event_type` leads above everything there is"),
        ("{{#with data}}{{../../event_type}}{{/with}}", "outside", 17, "`../../event_type` leads above"),
        ("{{@index}}", "outside", 3, "`@index` stands outside a loop"),
        ("{{#with data}}{{@key}}{{/with}}", "outside", 17, "`@key` stands outside a loop"),
        ("{{#each data.approvals}}{{@../index}}{{/each}}", "outside", 27, "`@../index` stands outside a loop"),
        ("{{@indx}}", "unknown_helper", 3, "there is no such variable: `@indx`"),
        (
            "{{join (pluck data.access_groups 'integration.nme')}}",
            "unknown_field",
            34,
            "`integration` has no field `nme`",
        ),
        ("{{lookup data.requester 'mail'}}", "unknown_field", 25, "`data.requester` has no field `mail`"),
        (
            "{{> who data.requester}}",
            "unknown_field",
            1,
            "in the partial `who` at 1:3: `data.requester` has no field `nam`",
        ),
        ("{{> up data}}", "outside", 1, "in the partial `up` at 1:3: `../x` leads above everything there is"),
        ("{{#> wrap data.requester}}{{mail}}{{/wrap}}", "unknown_field", 29, "`data.requester` has no field `mail`"),
        ("{{#data.access_groups}}{{nam}}{{/data.access_groups}}", "unknown_field", 26, "`data.access_groups` has no"),
    ],
)
def test_a_wrong_path_in_a_block_is_an_error_at_its_place(
    template: str, code: str, column: int, message: str, schema: dict[str, Any]
) -> None:
    """In the words of where it is looked up."""
    partials = {"who": "{{nam}}", "up": "{{../x}}", "wrap": "{{> @partial-block}}"}

    (problem,) = problems_of(template, schema, **partials)

    assert problem[:2] == (code, column)
    assert problem[2].startswith(message)


def test_the_event_can_be_meant_from_inside_a_block(schema: dict[str, Any]) -> None:
    """The usual slip: a field of the event where an item is looked at."""
    (fault,) = check_body("{{#each data.approvals}}{{data.id}}{{/each}}", content_type="text/plain", schema=schema)

    assert fault.hint == "the event has it: write `@root.data`"


@pytest.mark.parametrize(
    "template",
    [
        "{{data.grantee.name}}",
        "{{upper data.grantee.name}}",
        "{{default data.requester.name data.grantee.name}}",
        "{{#if data.id}}{{data.access_duration_in_seconds}}{{/if}}",
        "{{#with data}}{{custom_fields.ticket}}{{/with}}",
        "{{#if data.custom_fields}}{{data.grantee.name}}{{/if}}",
    ],
)
def test_a_field_that_older_payloads_lack_is_a_warning(template: str, schema: dict[str, Any]) -> None:
    """Such an event gives an empty text there."""
    (fault,) = check_body(template, content_type="text/plain", schema=schema)

    assert (fault.code, fault.is_error) == ("template.newer_field", False)
    assert "missing from payloads before 2024" in fault.message


@pytest.mark.parametrize(
    "template",
    [
        "{{#if data.grantee}}{{data.grantee.name}}{{else}}{{data.requester.name}}{{/if}}",
        "{{#if data.grantee.name}}{{upper data.grantee.name}}{{/if}}",
        "{{#with data.grantee}}{{name}}{{/with}}",
        "{{#each data.custom_fields}}{{@key}}={{this}}{{/each}}",
        "{{#data.grantee}}{{name}}{{/data.grantee}}",
        "{{default data.grantee.name data.requester.name}}",
        "{{#if (eq data.grantee.type 'group')}}group{{/if}}",
        "{{#if (and data.id data.grantee)}}{{data.grantee.id}}{{/if}}",
        "{{#unless data.custom_fields}}none{{else}}{{data.custom_fields.ticket}}{{/unless}}",
    ],
)
def test_who_asks_for_a_newer_field_first_is_not_warned(template: str, schema: dict[str, Any]) -> None:
    """The template knows that it may be missing."""
    assert problems_of(template, schema) == []
