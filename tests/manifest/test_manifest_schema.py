"""The published schemas: up to date, true to the manifests, and told as tables."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from reconciler.manifest.schema import explain_event, explain_manifest, manifest_schema, schema_files
from reconciler.models.event import event_schema

ROOT = Path(__file__).parents[2]
BAD = Path(__file__).parent / "bad"


@pytest.fixture(scope="module")
def manifests() -> Draft202012Validator:
    """A validator for manifest documents."""
    schema = manifest_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("name", sorted(schema_files()))
def test_the_published_schemas_are_up_to_date(name: str) -> None:
    """`reconciler schema` was run after the last change of a model."""
    assert (ROOT / "schemas" / name).read_text("utf-8") == schema_files()[name]


@pytest.mark.parametrize("file", sorted((ROOT / "manifests").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_schema_takes_the_example_manifests(manifests: Draft202012Validator, file: Path) -> None:
    """And each says to the editor where the schema is."""
    text = file.read_text("utf-8")

    assert text.startswith("# yaml-language-server: $schema=../schemas/manifest.schema.json\n")
    assert [error.message for document in yaml.safe_load_all(text) for error in manifests.iter_errors(document)] == []


@pytest.mark.parametrize(
    "name",
    [
        *("document-kind", "document-api-version", "document-without-spec", "document-unknown-key", "document-list"),
        *("field-unknown-key", "field-unknown-key-deep", "field-unknown-filter", "field-name-upper-case"),
        *("field-name-too-long", "field-url-missing", "field-triggers-empty", "field-trigger-of-event-type"),
        *("field-method", "field-header-number", "field-list-of-one", "field-glob-empty", "field-timeout-text"),
        *(
            "field-timeout-too-long",
            "field-jitter",
            "field-schedule-empty",
            "field-duration-bare",
            "field-duration-unit",
        ),
        *("field-rate-limit-word", "field-rate-limit-zero", "field-body-list", "url-http", "url-port", "url-user-info"),
        *("url-fragment", "url-relative", "project-unknown-key", "project-percent"),
    ],
)
def test_the_schema_refuses_what_it_can_know_to_be_wrong(manifests: Draft202012Validator, name: str) -> None:
    """An editor underlines it before anything runs."""
    documents = list(yaml.safe_load_all((BAD / f"{name}.yaml").read_text("utf-8")))

    assert any(not manifests.is_valid(document) for document in documents)


@pytest.mark.parametrize("field", ["timeout_in_sec", "max_concurrency", "method", "rate_limit", "status"])
def test_a_variable_may_stand_for_what_is_not_text(manifests: Draft202012Validator, field: str) -> None:
    """The value comes later; an editor must not complain."""
    spec = {"url": "https://hooks.example.com/in", "triggers": ["Manual"], field: "${var:value}"}
    document = {"apiVersion": "reconciler/v1", "kind": "Webhook", "metadata": {"name": "a"}, "spec": spec}

    assert manifests.is_valid(document)
    assert not manifests.is_valid({**document, "spec": {**spec, field: "value"}})


def test_every_default_is_one_that_a_manifest_may_say(manifests: Draft202012Validator) -> None:
    """An editor that fills defaults in must not make a manifest invalid."""
    properties = manifest_schema()["$defs"]["Spec"]["properties"]
    defaults = {name: field["default"] for name, field in properties.items() if "default" in field}
    spec = {**defaults, "url": "https://hooks.example.com/in", "triggers": ["Manual"]}
    document = {"apiVersion": "reconciler/v1", "kind": "Webhook", "metadata": {"name": "a"}, "spec": spec}

    assert [error.message for error in manifests.iter_errors(document)] == []
    assert defaults["max_hold"] == "1h"
    assert {row.path: row.last for row in explain_manifest()}["spec.retry.give_up_after"] == "96h"


def test_every_field_of_a_spec_has_a_description() -> None:
    """It is what an editor shows: unit, default and why."""
    definitions = manifest_schema()["$defs"]

    for name in ("Spec", "Metadata", "Retry", "RateLimit", "Filters", "ProjectSpec", "Policy", "OAuth2", "SigningKey"):
        for field, schema in definitions[name]["properties"].items():
            described = schema.get("description") or any(
                definitions[str(option["$ref"]).rpartition("/")[2]].get("description")
                for option in (schema, *schema.get("anyOf", ()))
                if "$ref" in option
            )
            assert described, f"{name}.{field}"


def test_the_event_schema_takes_every_sample(event_files: tuple[Path, ...]) -> None:
    """Both revisions of the payload, with nulls, strangers and missing fields."""
    validator = Draft202012Validator(event_schema())
    Draft202012Validator.check_schema(event_schema())

    for file in event_files:
        assert [error.message for error in validator.iter_errors(json.loads(file.read_bytes()))] == [], file.name


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"event_type": ""},
        {"event_type": 1},
        {"event_type": "a", "data": []},
        {"event_type": "a", "data": {"id": {}}},
    ],
)
def test_the_event_schema_refuses_what_is_no_event(event: dict[str, Any]) -> None:
    """Tolerant is not blind."""
    assert not Draft202012Validator(event_schema()).is_valid(event)


def test_the_event_table_has_every_documented_field_with_its_revision() -> None:
    """What Apono's reference lists, depth first; what the revision of 2024 added says so."""
    rows = {row.path: row for row in explain_event()}

    for path in (
        *("event_type", "event_time", "data.id", "data.friendly_id", "data.requester.email", "data.grantee.source_id"),
        *("data.access_groups[].integration.type", "data.access_groups[].resource_types[].display_path"),
        *(
            "data.access_groups[].access_units[].resource.type.id",
            "data.access_groups[].access_units[].permission.name",
        ),
        *("data.approvals[].approver.email", "data.custom_fields", "data.access_duration_in_seconds"),
    ):
        assert rows[path].meaning and rows[path].type
    assert {path for path, row in rows.items() if row.last and path.count(".") == 1} == {
        "data.grantee",
        "data.access_duration_in_seconds",
        "data.custom_fields",
    }


def test_the_manifest_table_names_every_field() -> None:
    """`explain manifest` is the reference of fields."""
    paths = {row.path for row in explain_manifest()}

    assert {
        "metadata.name",
        "spec.url",
        "spec.retry.schedule",
        "spec.auth.oauth2.token_url",
        "spec.signing.keys[].key",
    } <= paths
    assert all(row.meaning for row in explain_manifest() if row.path.count(".") > 1)
