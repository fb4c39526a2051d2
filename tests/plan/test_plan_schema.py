"""The plan's JSON: the published schema holds for it, and what people wrote for Terraform's plans reads it."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import jq
import pytest
from jsonschema import Draft202012Validator
from plan_samples import CASES, Case, desired, hook, live_hook, live_state

from reconciler.manifest.schema import schema_text
from reconciler.plan.document import plan_schema
from reconciler.plan.plan import Scope
from reconciler.plan.schema import plan_digest, plan_json

PUBLISHED = Path(__file__).parents[2] / "schemas" / "plan.schema.json"


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with every unknown key refused: a reader passes over them, we must not write them."""
    strict = deepcopy(schema)
    for definition in (strict, *strict["$defs"].values()):
        definition["additionalProperties"] = False
    return strict


def test_the_published_schema_is_the_one_the_types_say() -> None:
    """`reconciler schema` was run."""
    assert PUBLISHED.read_text("utf-8") == schema_text(plan_schema())


@pytest.mark.parametrize("name", CASES)
def test_every_plan_is_valid_and_says_nothing_more(name: str) -> None:
    """Every action and refusal, also as a reader of JSON gets it."""
    document = json.loads(json.dumps(plan_json(CASES[name].plan())))

    Draft202012Validator(closed(plan_schema())).validate(document)


def test_an_apply_adds_the_revision() -> None:
    """`apply --format json` prints the same document with one key more."""
    validator = Draft202012Validator(closed(plan_schema()))

    validator.validate({**plan_json(CASES["create"].plan()), "revision": 1})
    validator.validate({**plan_json(CASES["no-changes"].plan()), "revision": None})
    assert not validator.is_valid({**plan_json(CASES["create"].plan()), "revision": "1"})


def test_the_digest_tells_plans_apart() -> None:
    """The same for the same plan, another one for each other."""
    digests = {name: plan_digest(case.plan()) for name, case in CASES.items()}

    assert digests == {name: plan_digest(case.plan()) for name, case in CASES.items()}
    assert len(set(digests.values())) == len(digests)


# One of each action, as jq sees it
EVERYTHING = Case(
    desired(
        hook("created"),
        hook("updated", method="PUT"),
        hook("renamed", {"renamed_from": "old"}, url="https://hooks.example.com/old"),
        hook("moved-and-edited", {"renamed_from": "older"}),
        hook("adopted"),
        hook("same"),
    ),
    live_state(
        *(live_hook(hook(name)) for name in ("updated", "old", "older", "same", "gone", "gone-too")),
        live_hook(hook("adopted"), owner="other"),
    ),
    scope=Scope(adopts=True),
)
SNIPPETS = {  # as they stand in pipelines, policies and answers about `terraform show -json`
    '[.resource_changes[] | select(.change.actions | index("delete")) | .address]': [
        "webhook.gone",
        "webhook.gone-too",
    ],
    '[.resource_changes[] | select(.change.actions == ["create"]) | .address]': ["webhook.created"],
    '[.resource_changes[] | select(.change.actions[] | contains("update")) | .name]': ["moved-and-edited", "updated"],
    ".resource_changes | map(.change.actions[0]) | group_by(.) | map({(.[0]): length}) | add": {
        "create": 1,
        "delete": 2,
        "no-op": 3,
        "update": 2,
    },
    '[.resource_changes[] | select(.change.actions != ["no-op"])] | length': 5,
    "[.resource_changes[] | select(.previous_address != null) | {(.previous_address): .address}] | add": {
        "webhook.old": "webhook.renamed",
        "webhook.older": "webhook.moved-and-edited",
    },
    '[.resource_changes[] | select(has("previous_address") and .change.actions == ["no-op"]) | .address]': [
        "webhook.renamed"
    ],
    "[.resource_changes[] | select(.change.importing) | .change.importing.id]": ["uid-adopted"],
    '[.resource_changes[] | select(.action_reason == "delete_because_no_resource_config") | .name]': [
        "gone",
        "gone-too",
    ],
    '[.resource_changes[] | select(.type == "webhook" and .mode == "managed") | .change.after.spec.method] | unique': [
        None,
        "POST",
        "PUT",
    ],
    '[.resource_changes[] | select(.change.actions[0] == "update") | .change | select(.before.spec.method != '
    ".after.spec.method) | .after.metadata.name]": ["updated"],
    'if any(.resource_changes[]; .change.actions | index("delete")) then "stop" else "go" end': "stop",
    ".applyable and (.errored | not)": True,
    '.format_version | startswith("1.")': True,
}


@pytest.mark.parametrize("program", SNIPPETS)
def test_jq_programs_for_terraforms_plans_read_ours(program: str) -> None:
    """Addresses to be deleted, counts by action, renames, imports: the keys mean what they mean there."""
    text = json.dumps(plan_json(EVERYTHING.plan()))

    assert jq.compile(program).input_text(text).first() == SNIPPETS[program]


def test_a_release_is_terraforms_forget() -> None:
    """Policies that stop deletions let it pass, as they do there."""
    text = json.dumps(plan_json(CASES["forget"].plan()))
    program = '[.resource_changes[] | select(.change.actions == ["forget"]) | [.address, .change.after]]'

    assert jq.compile(program).input_text(text).first() == [["webhook.audit", None]]
