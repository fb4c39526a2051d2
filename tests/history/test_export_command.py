"""`export`: live webhooks as manifests that plan as nothing."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from golden_file import check_golden
from history_folder import Room, hook, project

OKTA = "https://acme.workflows.okta.com/api/flo/0123456789abcdef0123456789abcdef/invoke"
SAMPLES = (
    hook(
        "okta",
        {"title": "Okta: no, 'really'", "labels": {"team": "iam", "since": "2026-01-31"}},
        url=OKTA,
        headers={"x-api-client-token": "${secret:okta}"},
        triggers=["RequestCreated", "RequestApproved", "RequestRejected"],
        filters={"integration": {"name": ["*-prod", "!scratch"], "type": ["Postgresql"]}, "approval": "manual"},
        body_template='{\n  "event": "{{event_type}}",\n\t"note": "it\'s $${HOME} \\"quoted\\""\n}\n',
        rate_limit="unlimited",
        retry={"max_attempts": 3},
    ),
    hook("mapping", status="inactive", body_template={"b": "{{data.id}}", "a": [1, 2.5, None, "no", {"x": True}]}),
    hook("plain", method="PUT", content_type="text/plain", body_template="one \ntwo\t\n\n"),
)


def test_an_export_reads_like_a_manifest(room: Room) -> None:
    """Schema order, no defaults, long texts as blocks, the line for editors first; the Project before the webhooks."""
    room.apply(*SAMPLES, project(owner="iam", policy={"required_labels": [], "max_delete_percent": 10}))

    exported = room.done("export")

    check_golden("export.yaml", exported.out)
    assert exported.err == ""


def test_planning_an_export_changes_nothing(room: Room) -> None:
    """Property 9, with owner and policy."""
    room.apply(*SAMPLES, project(owner="iam", policy={"allowed_hosts": ["hooks.example.com", "*.okta.com"]}))

    room.done("export", "--out", "exported")

    assert sorted(path.name for path in Path("exported").iterdir()) == [
        "_project.yaml",
        "mapping.yaml",
        "okta.yaml",
        "plain.yaml",
    ]
    assert room.done("plan", "--detailed-exitcode", "exported").out.startswith("No changes.")
    assert room.done("validate", "exported").err == ""


def test_an_export_is_the_same_bytes_every_time(
    room: Room, reconciler: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """In every locale, from the command as from a folder written twice."""
    room.apply(*SAMPLES)
    first = room.done("export").out

    for env in ({"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}):
        assert reconciler("export", env=env).stdout == first
    room.apply(*reversed(SAMPLES))
    assert room.done("export").out == first


def test_names_pick_webhooks_and_leave_the_project_out(room: Room) -> None:
    """Globs; a name that matches nothing is an error, and nothing is printed."""
    room.apply(*SAMPLES, project(owner="iam"))

    picked = room.done("export", "p*", "okta")
    missing = room.done("export", "okta", "nope-*", code=1)

    assert [line for line in picked.out.splitlines() if line.startswith(("kind:", "  name:"))] == [
        "kind: Webhook",
        "  name: okta",
        "kind: Webhook",
        "  name: plain",
    ]
    assert missing.out == ""
    assert "no live webhook has such a name: nope-*" in missing.err


def test_json_holds_the_same_manifests(room: Room) -> None:
    """As documents that load as they are: JSON is YAML."""
    room.apply(*SAMPLES)

    documents = room.done("export", "--format", "json").json

    loaded = room.loaded("\n---\n".join(json.dumps(document) for document in documents))
    assert [webhook.name for webhook in loaded.webhooks] == ["mapping", "okta", "plain"]
    room.declare(*documents)
    assert room.done("plan", "--detailed-exitcode").code == 0


def test_of_several_owners_one_must_be_named(room: Room) -> None:
    """What one owner's manifests are is not guessed."""
    room.apply(hook("a"))
    room.apply(hook("b"), project(owner="iam"))

    refused = room.done("export", code=1)

    assert "2 owners: the default owner, iam" in refused.err
    assert "--owner ''" in refused.err
    assert "kind: Project" not in room.done("export", "--owner", "").out
    assert "  owner: iam\n" in room.done("export", "--owner", "iam").out
    room.declare(project())
    room.done("apply", "--auto-approve", "--allow-empty")
    assert "  name: b\n" in room.done("export").out
    assert "  name: b\n" in room.done("export", "b").out


def test_files_that_say_something_else_are_left_alone(room: Room) -> None:
    """All or nothing, unless it is forced; an unchanged file is no obstacle."""
    room.apply(*SAMPLES)
    room.done("export", "--out", "out", "okta")
    (Path("out") / "plain.yaml").write_text("# mine\n", "utf-8")

    refused = room.done("export", "--out", "out", code=1)

    assert "out/plain.yaml" in refused.err
    assert not (Path("out") / "mapping.yaml").exists()
    room.done("export", "--out", "out", "--force")
    assert (Path("out") / "plain.yaml").read_text("utf-8").startswith("# yaml-language-server: ")


def test_without_a_store_there_is_nothing_to_export(room: Room) -> None:
    """An error, and no store is made."""
    assert "there is no store" in room.done("export", code=1).err
    assert not (room.path / "reconciler.db").exists()


def test_a_secret_that_a_hand_wrote_into_the_database_is_not_exported(room: Room) -> None:
    """Its place is said instead."""
    room.apply(hook("a", headers={"authorization": "${secret:a_token}"}))
    assert room.edit_database("UPDATE documents SET body = replace(body, '${secret:a_token}', 'Bearer hunter2')") == 1

    done = room.done("export")

    assert "hunter2" not in done.out + done.err
    assert "authorization: (sensitive value)" in done.out
    assert "webhook.a" in done.err


def test_an_edited_document_is_exported_with_a_warning(room: Room) -> None:
    """It is what is live, but nobody applied it."""
    room.apply(hook("a"))
    room.edit_database("UPDATE documents SET body = replace(body, 'hooks.example', 'evil.example')")

    done = room.done("export")

    assert "url: https://evil.example.com/a" in done.out
    assert "warning[edited]" in done.err


def test_what_is_live_is_exported_not_what_is_declared(room: Room) -> None:
    """Renames and protection that the store holds make no difference to a plan of the export."""
    room.apply(hook("old", {"protect": True}))
    room.apply(hook("new", {"renamed_from": "old"}, url="https://hooks.example.com/old"))

    exported = room.done("export").out

    assert "renamed_from" not in exported
    (webhook,) = room.loaded(exported).webhooks
    (live,) = asyncio.run(room.live()).webhooks
    assert live.is_protected
    assert webhook.canonical() == live.webhook.canonical()


def test_a_released_webhook_is_exported_without_a_project(room: Room) -> None:
    """Nobody is no owner that a project may name."""
    room.apply(hook("a"), hook("b"))
    room.apply(hook("a"), flags=("--keep",))

    assert "  name: b\n" not in room.done("export").out
    exported: Any = room.done("export", "--owner", "nobody", "--format", "json").json
    assert [(item["kind"], item["metadata"]["name"]) for item in exported] == [("Webhook", "b")]
