"""Bodies rendered over the built-in events before anything is applied."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from manifest_text import manifest

from reconciler import jsontext
from reconciler.errors import Problem
from reconciler.manifest.load import Manifests, load_manifests
from reconciler.models.corpus import HOSTILE, corpus
from reconciler.models.event import TRIGGER_OF_EVENT_TYPE, judge_payload
from reconciler.models.webhook import Trigger
from reconciler.template import compile_body

MAIN = Path(__file__).parents[2] / "manifests"

Rehearse = Callable[[str], Manifests]


@pytest.fixture
def rehearse(tmp_path: Path) -> Rehearse:
    """The set of one manifest, rehearsed."""

    def rehearsed(text: str) -> Manifests:
        (tmp_path / "hook.yaml").write_text(text)
        return load_manifests([tmp_path], rehearse=True)

    return rehearsed


def shown(problems: tuple[Problem, ...]) -> list[tuple[str, int | None, int | None]]:
    return [(problem.code, problem.line, problem.column) for problem in problems]


@pytest.mark.parametrize("trigger", Trigger)
def test_the_built_in_events_are_events(trigger: Trigger) -> None:
    """The daemon would take each of them, and as one of its trigger."""
    events = corpus(trigger)

    assert len(events) >= (4 if trigger.is_operational else 8)
    for _, event in events:
        judge_payload(event)
        assert event["event_type"] == "Manual" or TRIGGER_OF_EVENT_TYPE[event["event_type"]] is trigger
        assert jsontext.loads(jsontext.dumps(event)) == event


def test_what_people_type_is_among_them() -> None:
    """Quotes, control characters, mustaches, references, lone surrogates; nothing, null, empty; one group and two."""
    events = dict(corpus(Trigger.REQUEST_CREATED))

    assert all(mark in HOSTILE for mark in ('"', "\\", "\n", "\0", "\u2028", "{{x}}", "${secret:z}", "\ud83d"))
    assert events["hostile text"]["data"]["requester"]["name"] == HOSTILE
    assert events["no groups"]["data"]["access_groups"] == []
    assert events["nulls"]["data"]["requester"] is None
    assert set(events["missing fields"]["data"]) == {"id"}
    assert "grantee" not in events["older payload"]["data"]
    assert [len(events[name]["data"]["access_groups"]) for name in ("single", "complete")] == [1, 2]


def test_the_example_manifests_pass() -> None:
    """Every body gives JSON whatever the event."""
    assert load_manifests([MAIN], rehearse=True).problems == ()


def test_a_helper_that_cannot_do_with_an_event_is_an_error_that_names_it(rehearse: Rehearse) -> None:
    """At the helper, with the first event that shows it."""
    (problem,) = rehearse(manifest('body_template: |\n  {\n    "a": {{date data.id}}\n  }')).problems

    assert (problem.code, problem.line, problem.column) == ("template.render", 10, 14)
    assert "`complete` of RequestCreated" in problem.message
    assert "no time" in problem.message


def test_keys_that_turn_out_equal_are_an_error(rehearse: Rehearse) -> None:
    """The template alone cannot tell; an event can."""
    text = 'body_template: \'{"{{data.requester.name}}": 1, "{{data.access_flow.name}}": 2}\''

    (problem,) = rehearse(manifest(text)).problems

    assert problem.code == "template.render"
    assert "the same key twice" in problem.message


def test_a_leaf_of_a_mapping_is_found(rehearse: Rehearse) -> None:
    """The problem stands at the leaf, not at the body."""
    (problem,) = rehearse(manifest("body_template:\n  a: fine\n  b:\n    c: 'at {{date data.id}}'")).problems

    assert (problem.path, problem.line) == ("spec.body_template.b.c", 11)


def test_each_place_is_reported_once(rehearse: Rehearse) -> None:
    """Not once for each event and trigger."""
    text = manifest("body_template: '[{{date data.id}}]'").replace("RequestCreated", "RequestCreated, RequestFailed")

    assert len(rehearse(text).problems) == 1


def test_without_rehearsal_nothing_is_rendered(tmp_path: Path) -> None:
    """Plan and apply judge what the text tells, and are quick."""
    (tmp_path / "hook.yaml").write_text(manifest("body_template: '[{{date data.id}}]'"))

    assert load_manifests([tmp_path]).problems == ()


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "text/html"])
def test_other_content_types_are_rendered_too(rehearse: Rehearse, content_type: str) -> None:
    """What they hold need not be JSON, but must be text."""
    text = manifest(f"content_type: {content_type}\nbody_template: 'a={{{{data.justification}}}}&b={{{{data}}}}'")

    assert rehearse(text).problems == ()


def test_methods_without_a_body_have_nothing_to_rehearse(rehearse: Rehearse) -> None:
    """GET sends none."""
    assert rehearse(manifest("method: GET")).problems == ()


@pytest.mark.parametrize("trigger", Trigger)
def test_a_template_with_everything_gives_json_for_every_event(trigger: Trigger) -> None:
    """Blocks, separators, helpers, JSON in strings, over all the events of a trigger."""
    body: Any = r"""{
      "kind": {{#if (eq event_type "Manual")}}"by hand"{{else if data.access_bundle}}"bundle"{{else}}null{{/if}},
      "at": "{{date event_time "%F %T" "Europe/Berlin"}}",
      "groups": [{{#each data.access_groups}}
        {"name": "{{integration.name}}", "of": {{json @root.data.id}}, "units": [{{#each access_units}}
          "{{../integration.type}}/{{resource.name}}"{{#unless @last}},{{/unless}}{{/each}}]
        }{{#unless @last}},{{/unless}}{{/each}}],
      "fields": { {{#each data.custom_fields as |v k|}}"{{k}}": {{v}}{{#unless @last}},{{/unless}}{{/each}} },
      "names": "{{join (pluck data.approvals "approver.name")}}",
      "message": "{\"who\": \"{{default data.grantee.name data.requester.name "nobody"}}\", \"all\": [{{#each
        data.approvals}}{{#unless @first}}, {{/unless}}\"{{status}}\"{{/each}}]}"
    }""".replace(chr(92) * 2, chr(92))

    template = compile_body(body, content_type="application/json")

    for _, event in corpus(trigger):
        sent = jsontext.loads(template.render(event))
        groups = (event["data"] or {}).get("access_groups") or []
        assert len(sent["groups"]) == len(groups)
        inner = jsontext.loads(sent["message"])
        assert len(inner["all"]) == len((event["data"] or {}).get("approvals") or [])
