"""`kind: WebhookTest`: who reads it, where its event may come from, and which fields of it are replaced."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from manifest_text import manifest

from reconciler import jsontext
from reconciler.manifest.event_path import PathProblem, read_path, replace_at
from reconciler.manifest.load import Manifests, load_manifests
from reconciler.manifest.schema import explain_manifest, manifest_schema
from reconciler.manifest.webhook_test import Around, judge_test
from reconciler.models.corpus import complete_event
from reconciler.models.webhook import Trigger

ROOT = Path(__file__).parents[2]
Load = Callable[..., Manifests]
EVENT = '{"event_type": "AccessRequestCreated", "data": {"id": "r-1", "revocation_date": 1795428000.10}}'


def test_of(spec: str, *, name: str = "a-test") -> str:
    lines = "".join(f"  {line}\n" for line in spec.split("\n"))
    return f"apiVersion: reconciler/v1\nkind: WebhookTest\nmetadata: {{name: {name}}}\nspec:\n{lines}"


test_of.__test__ = False  # type: ignore[attr-defined]


def judged(folder: Path, *paths: str) -> Manifests:
    return load_manifests([folder / path for path in paths] or [folder], tests=True)


def event_of(manifests: Manifests) -> Any:
    """The event of the only test."""
    (test,) = manifests.tests
    assert test.ready is not None, manifests.problems
    return test.ready.event


def test_faults_of_tests_are_told_only_where_tests_are_asked_for(load: Load, tmp_path: Path) -> None:
    """A broken test keeps nobody from planning: `plan` and `apply` pass it over."""
    loaded = load(manifest(), test_of("webhook: none\nexpect: {}"))

    assert loaded.is_valid
    assert loaded.tests[0].ready is None
    assert {problem.code for problem in judged(tmp_path).problems} == {"test.webhook", "test.event", "test.expect"}


def test_a_test_does_not_change_what_is_desired(load: Load, tmp_path: Path) -> None:
    before = load(manifest()).digest
    after = load(manifest(), test_of("webhook: hook\nsample: RequestCreated\nexpect: {match: true}"))

    assert after.digest == before
    assert [webhook.name for webhook in after.webhooks] == ["hook"]


def test_a_test_of_a_webhook_with_an_error_has_none_itself(tmp_path: Path) -> None:
    """The name is known; what is wrong is said once, at the webhook."""
    (tmp_path / "a.yaml").write_text(manifest("heders: {}"))
    (tmp_path / "b.yaml").write_text(test_of("webhook: hook\nsample: RequestCreated\nexpect: {match: true}"))

    assert [problem.code for problem in judged(tmp_path).problems] == ["field.unknown"]


def test_the_webhook_may_stand_in_another_of_the_paths(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(manifest())
    (tmp_path / "b.yaml").write_text(test_of("webhook: hook\nsample: RequestCreated\nexpect: {match: true}"))

    assert judged(tmp_path, "a.yaml", "b.yaml").is_valid
    assert [problem.code for problem in judged(tmp_path, "b.yaml").problems] == ["test.webhook"]


@pytest.fixture
def placed(tmp_path: Path) -> Callable[[str], Manifests]:
    """A set of which the one test, in a folder below, takes its event from a file."""
    root = tmp_path / "manifests"
    (root / "tests" / "events").mkdir(parents=True)
    (root / "a.yaml").write_text(manifest())
    (tmp_path / "outside.json").write_text(EVENT)
    (root / "tests" / "events" / "created.json").write_text(EVENT)
    (root / "shared.json").write_text(EVENT)
    (root / "tests" / "link.json").symlink_to(tmp_path / "outside.json")
    (root / "tests" / "folder").symlink_to(tmp_path)
    (root / "tests" / "inner.json").symlink_to(root / "shared.json")

    def write(name: str) -> Manifests:
        spec = f"webhook: hook\nevent_file: {name}\nexpect: {{match: true}}"
        (root / "tests" / "t.yaml").write_text(test_of(spec))
        return judged(root)

    return write


@pytest.mark.parametrize(
    "name", ["events/created.json", "../shared.json", "./events/../events/created.json", "inner.json"]
)
def test_an_event_file_may_stand_anywhere_among_the_manifests(placed: Callable[[str], Manifests], name: str) -> None:
    event = event_of(placed(name))

    assert event.raw == EVENT.encode()
    assert event.payload["data"]["revocation_date"].text == "1795428000.10"


@pytest.mark.parametrize(
    "name", ["../../outside.json", "link.json", "folder/outside.json", "/etc/hostname", '"a\\0"', ".."]
)
def test_an_event_file_never_leads_out_of_the_manifests(placed: Callable[[str], Manifests], name: str) -> None:
    """Neither by `..`, nor by a link to a file or folder, nor by an absolute path; and nothing of it is quoted."""
    problems = placed(name).problems

    assert {problem.code for problem in problems} <= {"test.event_file", "yaml.character"}
    assert len(problems) >= 1
    assert "AccessRequestCreated" not in "".join(problem.message for problem in problems)


def test_a_manifest_given_by_itself_keeps_its_events_beside_it(tmp_path: Path) -> None:
    test = test_of("webhook: hook\nevent_file: e.json\nexpect: {match: true}")
    (tmp_path / "a.yaml").write_text(f"{manifest()}---\n{test}")
    (tmp_path / "e.json").write_text(EVENT)

    assert event_of(judged(tmp_path, "a.yaml")).data_id == "r-1"


def test_an_event_that_intake_would_refuse_is_refused(placed: Callable[[str], Manifests], tmp_path: Path) -> None:
    (tmp_path / "manifests" / "tests" / "large.json").write_text(f'{{"event_type": "x", "a": "{"a" * 256 * 1024}"}}')

    (problem,) = placed("large.json").problems

    assert problem.message.startswith("`event_file` has 262,")


def test_numbers_of_a_test_keep_their_digits(load: Load, tmp_path: Path) -> None:
    """In the event, and in what is expected; with variables too."""
    load(manifest(), test_of("webhook: hook\nevent: {event_type: x, a: [1.10, 1.0e+3, -0, 7]}\nexpect: {body: 1.00}"))
    (test,) = judged(tmp_path).tests

    assert test.ready is not None
    assert test.ready.event.raw == b'{"event_type":"x","a":[1.10,1.0e+3,-0,7]}'
    assert jsontext.dumps(test.ready.test.spec.expect.body) == "1.00"


def test_fields_are_replaced_by_their_path(load: Load, tmp_path: Path) -> None:
    """In lists, in keys with dots, where something is null or missing, at the end of a list."""
    load(
        manifest(),
        test_of(
            "webhook: hook\nsample: RequestCreated\nexpect: {match: true}\nset:\n"
            "  data.access_bundle: null\n"
            '  data.access_groups[1].access_units[0].resource.name: "$${x}"\n'
            "  data.access_groups.[2].integration.name: third\n"
            '  data.custom_fields["a.b"]: 1.50\n'
            "  data.access_flow: null\n"
            "  data.access_flow.name: again"
        ),
    )
    data = event_of(judged(tmp_path)).payload["data"]

    assert data["access_bundle"] is None
    assert data["access_groups"][1]["access_units"][0]["resource"]["name"] == "${x}"
    assert data["access_groups"][2] == {"integration": {"name": "third"}}
    assert data["custom_fields"]["a.b"].text == "1.50"
    assert data["access_flow"] == {"name": "again"}


def test_the_built_in_event_is_not_changed_by_a_test(load: Load, tmp_path: Path) -> None:
    before = jsontext.dumps(complete_event(Trigger.REQUEST_CREATED))
    load(manifest(), test_of("webhook: hook\nsample: RequestCreated\nset: {data.id: x}\nexpect: {match: true}"))
    judged(tmp_path)

    assert jsontext.dumps(complete_event(Trigger.REQUEST_CREATED)) == before


def test_an_event_of_another_kind_may_have_any_field(load: Load, tmp_path: Path) -> None:
    load(manifest(), test_of("webhook: hook\nevent: {event_type: other}\nset: {data.x.y: 1}\nexpect: {match: false}"))

    assert event_of(judged(tmp_path)).payload == {"event_type": "other", "data": {"x": {"y": 1}}}


names = st.text(min_size=1, max_size=5).filter(lambda text: not set(text) & set('.[]"'))


@given(st.lists(names | st.integers(0, 3), min_size=1, max_size=5).filter(lambda keys: isinstance(keys[0], str)))
def test_a_path_is_read_back_as_it_was_written(keys: list[str | int]) -> None:
    dotted = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")
    quoted = "".join(f"[{key}]" if isinstance(key, int) else f'["{key}"]' for key in keys)

    assert read_path(dotted) == tuple(keys)
    if not any(isinstance(key, str) and "\\" in key for key in keys):
        assert read_path(quoted) == tuple(keys)


@given(st.text(max_size=12))
def test_any_text_is_a_path_or_a_problem(text: str) -> None:
    try:
        keys = read_path(text)
        replace_at(complete_event(Trigger.REQUEST_CREATED), keys, 1)
    except PathProblem:
        return
    assert keys


nodes = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=4)
    | st.sampled_from(["hook", "${secret:x}", "RequestCreated"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("webhook", "sample", "event", "event_file", "set", "expect", "other")
EXPECT = ("match", "method", "url", "headers", "body", "body_contains", "other")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(KEYS, nodes),
            "expect": st.fixed_dictionaries({}, optional=dict.fromkeys(EXPECT, nodes)),
        },
    ),
    nodes,
)
def test_whatever_a_test_says_is_ready_or_at_fault(spec: dict[str, Any], metadata: Any) -> None:
    """Nothing is raised, and no fault goes without its words."""
    ready, faults = judge_test({"spec": spec, "metadata": metadata}, Around("t.yaml", ["hook"], [Path()]))

    assert (ready is None) == bool(faults)
    assert all(fault.code and fault.message for fault in faults)


@pytest.mark.parametrize("file", sorted((ROOT / "manifests" / "tests").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_schema_takes_the_example_tests(file: Path) -> None:
    """And each says to the editor where the schema is."""
    text, validator = file.read_text("utf-8"), Draft202012Validator(manifest_schema())

    assert text.startswith("# yaml-language-server: $schema=../../schemas/manifest.schema.json\n")
    assert [error.message for document in yaml.safe_load_all(text) for error in validator.iter_errors(document)] == []


@pytest.mark.parametrize(
    "name",
    [
        "unknown-key",
        "expects-nothing",
        "without-event",
        "two-events",
        "match-word",
        "sample",
        "header-number",
        "without-name",
    ],
)
def test_the_schema_refuses_what_it_can_know_to_be_wrong_with_a_test(name: str) -> None:
    """An editor underlines it before anything runs."""
    text = (Path(__file__).parent / "bad" / f"test-{name}.yaml").read_text("utf-8")
    validator = Draft202012Validator(manifest_schema())

    assert [validator.is_valid(document) for document in yaml.safe_load_all(text)] == [True, False]


def test_explain_tells_the_fields_of_tests_too() -> None:
    paths = {row.path for row in explain_manifest()}

    assert {"spec.url", "WebhookTest.spec.set", "WebhookTest.spec.expect.body_contains"} <= paths


def test_what_the_head_of_a_test_lacks_is_told_once(load: Load, tmp_path: Path) -> None:
    """Nobody reads that fields are missing in a spec that is none."""
    load(
        "apiVersion: reconciler/v1\nkind: WebhookTest\nspec: []\n",
        "apiVersion: reconciler/v1\nkind: WebhookTest\nmetadata: x\nspec: {webhook: [a], sample: Manual, expect: []}\n",
        "apiVersion: reconciler/v1\nkind: WebhookTest\nmetadata: {name: a}\n",
    )

    assert [(problem.code, problem.path) for problem in judged(tmp_path).problems] == [
        ("field.missing", "metadata"),
        ("field.type", "spec"),
        ("field.type", "metadata"),
        ("field.type", "spec.webhook"),
        ("field.type", "spec.expect"),
        ("field.missing", "spec"),
    ]
