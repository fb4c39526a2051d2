"""States and revisions over the API: what a plan reads, and what an apply may and may not set."""

import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import NOW, Room, event, exchange, publish, raw, running, webhook
from web_token import TOKENS, bearer, guarded_app

from reconciler.models.revision import ChangeSet, Hold, LiveWebhook, Revision
from reconciler.models.webhook import Policy, Webhook, WebhookUid
from reconciler.store.wire import (
    CHANGE_SET_MAX_BYTES,
    ChangeSetHead,
    Upsert,
    change_set_lines,
    change_set_of,
    live_webhook_json,
    loads,
    revision_of,
    state_of,
)
from reconciler.web.app import build_app
from reconciler.web.change_set import ChangeSetError, read_change_set

NDJSON = {"content-type": "application/x-ndjson"}
LINES = Callable[[list[Any]], None]


@dataclasses.dataclass
class Served:
    """The application behind a server, with what it told the worker."""

    http: httpx.AsyncClient
    url: str
    published: int = 0


@pytest.fixture
async def served(room: Room) -> AsyncIterator[Served]:
    def on_publish() -> None:
        opened.published += 1

    app = build_app(
        store=room.store,
        live=room.live,
        intake=room.intake,
        status=dict,
        now=lambda: room.now,
        on_publish=on_publish,
    )
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
        opened = Served(http, url)
        yield opened


def upsert(item: Webhook, **facts: Any) -> LiveWebhook:
    return LiveWebhook(WebhookUid(item.name), "", item, item.digest(), False, 0, **facts)


def made_of(*webhooks: Webhook, **facts: Any) -> ChangeSet:
    """One that may be published upon an empty store."""
    given: dict[str, Any] = {
        "lineage": "",
        "base_revision": 0,
        "plan_id": "plan",
        "applied_at": 1,
        "applied_by": "dana@example.com",
        "commit": "c0ffee",
        "owner": "",
        "upserts": tuple(upsert(item) for item in webhooks),
        "deletes": (),
        "policy": None,
        "created": len(webhooks),
        "updated": 0,
        "renamed": 0,
        "deleted": 0,
        "changes": ({"address": "webhook.x", "change": {"actions": ["create"]}},),
    }
    return ChangeSet(**{**given, **facts})


async def change_set(room: Room, *webhooks: Webhook, **facts: Any) -> ChangeSet:
    """One that may be published upon the live revision."""
    state = await room.store.live_state()
    base = {"lineage": state.lineage, "base_revision": state.revision, "plan_id": f"plan-of-{state.revision}"}
    return made_of(*webhooks, **{**base, **facts})


async def problems_of(body: bytes) -> list[dict[str, Any]]:
    """What is wrong with a change set."""
    with pytest.raises(ChangeSetError) as caught:
        await read_change_set(body, applied_at=0, token=None)
    assert caught.value.problems
    return caught.value.problems


def body_of(made: ChangeSet, edit: LINES | None = None) -> bytes:
    lines = [json.loads(line) for line in change_set_lines(made)]
    if edit is not None:
        edit(lines)
    return b"\n".join(json.dumps(line).encode() for line in lines)


async def test_the_state_is_what_the_store_holds(served: Served, room: Room) -> None:
    """Lineage, revision, commit, policies, and each webhook with its owner, digest, protection and document."""
    body = {"first": "{{event_type}}", "a": {"z": 1, "b": [1.5, None, True]}}
    await publish(room.store, webhook("ordered", body_template=body), webhook("plain", title="<é>"), commit="c0ffee")

    response = await served.http.get("/v1/state")

    assert state_of(response.json()) == await room.store.live_state()
    shown = {item["document"]["metadata"]["name"]: item for item in response.json()["webhooks"]}
    assert list(shown["ordered"]["document"]["spec"]["body_template"]) == ["first", "a"]  # the author's order is sent
    assert response.json()["commit"] == "c0ffee"


async def test_an_earlier_state_is_asked_for_by_its_number(served: Served, room: Room) -> None:
    """For rollbacks and diffs; one that never was is 404, what is no number 400."""
    before = await room.store.live_state()
    await publish(room.store, webhook("other"))

    response = await served.http.get("/v1/state?revision=1")

    assert state_of(response.json()) == before
    missing = await served.http.get("/v1/state?revision=3")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_in_store")
    assert "the live one is 2" in missing.json()["detail"]
    assert (await served.http.get("/v1/state?revision=x")).status_code == 400


async def test_a_state_that_is_known_is_not_sent_again(served: Served, room: Room) -> None:
    """ETag and If-None-Match (RFC 9110, section 13.1.2), until another revision is live."""
    tag = (await served.http.get("/v1/state")).headers["etag"]

    for value in (tag, f'"x", {tag}', tag.removeprefix("W/")):
        response = await served.http.get("/v1/state", headers={"if-none-match": value})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", tag)

    await publish(room.store, webhook("other"))
    response = await served.http.get("/v1/state", headers={"if-none-match": tag})
    assert (response.status_code, response.json()["revision"]) == (200, 2)


async def test_a_change_set_becomes_a_revision(served: Served, room: Room) -> None:
    """201 with the revision; the worker is told at once; when is the daemon's word, who is the client's."""
    room.now = NOW + 5000
    made = await change_set(room, webhook("created", title="new"), deletes=(WebhookUid("approved"),), deleted=1)

    response = await served.http.post("/v1/revisions", content=body_of(made), headers=NDJSON)

    assert (response.status_code, response.headers["location"]) == (201, "/v1/revisions/2")
    assert response.json()["applied_at"] == "2026-11-23T09:00:05.000Z"
    assert (response.json()["applied_by"], response.json()["commit"]) == ("dana@example.com", "c0ffee")
    state = await room.store.live_state()
    assert [(live.webhook.name, live.webhook.metadata.title) for live in state.webhooks] == [("created", "new")]
    assert served.published == 1
    shown = (await served.http.get("/v1/revisions/2")).json()
    assert revision_of(shown) == await room.store.revision(2)
    assert shown["changes"] == list(made.changes)


async def test_with_tokens_the_token_applied(room: Room, tmp_path: Path) -> None:
    """Whatever the client says."""
    made = await change_set(room, webhook("created"), hold=Hold("", 0, "dana", "incident"), restores=1)
    app = guarded_app(room, tmp_path / "tokens.yaml")

    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        response = await http.post("/v1/revisions", content=body_of(made), headers={**NDJSON, **bearer("pipeline")})

    assert response.json()["applied_by"] == "pipeline"
    assert (await room.store.revisions())[0].applied_by == "pipeline"
    assert await room.store.holds() == (Hold("", NOW, "pipeline", "incident"),)


@pytest.mark.parametrize(
    ("facts", "fact"),
    [
        ({"base_revision": 0}, "from revision 0 to 1"),
        ({"lineage": "another"}, "another store"),
        ({"lineage": ""}, "there was no store"),
    ],
)
async def test_a_stale_plan_is_409_and_changes_nothing(
    served: Served, room: Room, facts: dict[str, Any], fact: str
) -> None:
    """With both revisions, so that a client can say what happened."""
    made = await change_set(room, webhook("new"), **facts)

    response = await served.http.post("/v1/revisions", content=body_of(made), headers=NDJSON)

    problem = response.json()
    assert (response.status_code, problem["code"], problem["live_revision"]) == (409, "stale", 1)
    assert problem["base_revision"] == made.base_revision
    assert fact in problem["detail"]
    assert (await room.store.live_revision(), served.published) == (1, 0)


async def test_a_plan_is_used_once(served: Served, room: Room) -> None:
    """The second time says so, and which revision it made."""
    made = await change_set(room, webhook("new"))
    assert (await served.http.post("/v1/revisions", content=body_of(made), headers=NDJSON)).status_code == 201

    response = await served.http.post("/v1/revisions", content=body_of(made), headers=NDJSON)

    assert (response.status_code, response.json()["used"]) == (409, True)
    assert "applied already: revision 2" in response.json()["detail"]


async def test_applies_on_hold_are_refused(served: Served, room: Room) -> None:
    """409 with another code than a stale plan: planning again would not help."""
    order = {"owner": "", "held_by": "dana", "reason": "incident 7"}
    assert (await served.http.post("/v1/holds", json=order)).status_code == 201
    assert (await served.http.get("/v1/holds")).json()[0]["reason"] == "incident 7"

    response = await served.http.post("/v1/revisions", content=body_of(await change_set(room)), headers=NDJSON)
    assert (response.status_code, response.json()["code"]) == (409, "refused")
    assert "incident 7" in response.json()["detail"]

    assert (await served.http.delete("/v1/holds?owner=")).status_code == 204
    response = await served.http.post("/v1/revisions", content=body_of(await change_set(room)), headers=NDJSON)
    assert response.status_code == 201


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"owner": 1}', b"[]", b'{"owner": "", "held_by": "\\u0007", "reason": ""}']
)
async def test_what_is_no_hold_is_refused(served: Served, room: Room, body: bytes) -> None:
    """422, and applies go on."""
    assert (await served.http.post("/v1/holds", content=body)).status_code == 422
    assert (await served.http.post("/v1/holds", content=b"x" * 20_000)).status_code == 413
    assert (await served.http.delete("/v1/holds")).status_code == 400
    assert await room.store.holds() == ()


def spoil(line: int, *path: str, to: Any) -> LINES:
    """Set a value somewhere in the lines, which is in the way of something."""

    def edit(lines: list[Any]) -> None:
        target = lines[line]
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = to

    return edit


def drop(line: int, key: str) -> LINES:
    def edit(lines: list[Any]) -> None:
        del lines[line][key]

    return edit


SPEC = ("document", "spec")


@pytest.mark.parametrize(
    ("edit", "path", "fact"),
    [
        (spoil(0, "surprise", to=1), "surprise", "unknown key: surprise"),
        (drop(0, "plan_id"), "plan_id", "`plan_id` is missing"),
        (spoil(0, "plan_id", to="../../etc"), "plan_id", "plan_id"),
        (spoil(0, "base_revision", to="1"), "base_revision", "must be a whole number"),
        (spoil(0, "base_revision", to=-1), "base_revision", "must be at least 0"),
        (spoil(0, "base_revision", to=True), "base_revision", "must be a whole number"),
        (spoil(0, "owner", to="a\nb"), "owner", "owner"),
        (spoil(0, "created", to=10**12), "created", "at most"),
        (spoil(0, "deletes", to=["x", "x"]), "", "the uid stands twice: x"),
        (spoil(0, "deletes", to=["new"]), "", "the uid stands twice: new"),
        (spoil(0, "deletes", to=["a b"]), "deletes[0]", "deletes"),
        (spoil(0, "policy", to={"max_delete_percent": 101}), "policy.max_delete_percent", "at most 100"),
        (spoil(0, "policy", to={"surprise": 1}), "policy.surprise", "unknown key"),
        (spoil(0, "upserts", to=2), "", "3 lines must follow, 2 do"),
        (spoil(0, "changes", to=0), "", "1 lines must follow, 2 do"),
        (spoil(1, "uid", to=""), "uid", "uid"),
        (spoil(1, "surprise", to=1), "surprise", "unknown key"),
        (spoil(1, "protected", to="yes"), "protected", "must be true or false"),
        (spoil(1, "digest", to="0" * 64), "digest", "the digest of new is not that of its document"),
        (spoil(1, "document", to=[]), "document", "must be a mapping"),
        (spoil(1, "document", "kind", to="Project"), "document.kind", "kind"),
        (spoil(1, "document", "apiVersion", to="reconciler/v2"), "document.apiVersion", "apiVersion"),
        (spoil(1, "document", "metadata", "name", to="Not A Name"), "document.metadata.name", "1 to 63"),
        (spoil(1, *SPEC, "surprise", to=1), "document.spec.surprise", "unknown key"),
        (spoil(1, *SPEC, "method", to="TRACE"), "document.spec.method", "must be one of"),
        (spoil(1, *SPEC, "triggers", to=[]), "document.spec.triggers", "must not be empty"),
        (spoil(1, *SPEC, "url", to="http://example.com/x"), "document.spec.url", "https"),
        (spoil(1, *SPEC, "url", to="https://169.254.169.254/"), "document.spec.url", "IP address"),
        (spoil(1, *SPEC, "url", to="https://a@example.com/"), "document.spec.url", "user"),
        (spoil(1, *SPEC, "headers", to={"x": "a\r\nhost: evil"}), "document.spec.headers.x", "line break"),
        (spoil(1, *SPEC, "headers", to={"host": "evil"}), "document.spec.headers.host", "host"),
        (spoil(1, *SPEC, "body_template", to="{{no_such_field}}"), "document.spec.body_template", "no_such_field"),
        (spoil(1, *SPEC, "timeout_in_sec", to=66), "document.spec.timeout_in_sec", "at most 65"),
        (spoil(1, *SPEC, "retry", to={"max_attempts": 0}), "document.spec.retry.max_attempts", "at least 1"),
    ],
)
async def test_no_client_says_what_no_manifest_could_say(edit: LINES, path: str, fact: str) -> None:
    """Each with its line, its path and the fact."""
    problems = await problems_of(body_of(made_of(webhook("new")), edit))

    assert any(item["path"] == path and fact in item["message"] for item in problems), problems


async def test_what_is_not_valid_is_422_and_not_stored(served: Served, room: Room) -> None:
    """With every problem; the first one stands in the detail."""
    made = await change_set(room, webhook("new"), webhook("old"))

    def edit(lines: list[Any]) -> None:
        for line in lines[1:3]:
            line["document"]["spec"]["url"] = "http://169.254.169.254/"

    response = await served.http.post("/v1/revisions", content=body_of(made, edit), headers=NDJSON)

    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "invalid")
    assert problem["detail"].startswith("the change set cannot be stored: line 2, document.spec.url:")
    assert {item["line"] for item in problem["problems"]} == {2, 3}
    assert (await room.store.live_revision(), served.published) == (1, 0)


@pytest.mark.parametrize(
    "body", [b"", b"\n", b"{", b"[]", b"null", b'{"lineage": "\xff"}', b"[" * 100_000, b'{"a": 1}' * 1000, b"{}\n{}"]
)
async def test_what_is_no_change_set_has_problems(body: bytes) -> None:
    """Any bytes."""
    assert await problems_of(body)


@given(
    lines=st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=8,
        ),
        max_size=4,
    )
)
async def test_any_json_ends_in_problems(lines: list[Any]) -> None:
    """And in nothing else."""
    assert await problems_of(b"\n".join(json.dumps(line).encode() for line in lines))


async def test_a_document_may_not_be_nested_without_end() -> None:
    """What the store could write and nobody could read."""
    deep: Any = "x"
    for _ in range(400):
        deep = {"a": deep}

    problems = await problems_of(body_of(made_of(webhook("new")), spoil(1, *SPEC, "body_template", to=deep)))

    assert problems[0]["message"].startswith("nested deeper than")


async def test_problems_are_bounded() -> None:
    """A client that is far off hears of the first ones."""

    def edit(lines: list[Any]) -> None:
        for line in lines[1:51]:
            line["digest"] = "0" * 64

    with pytest.raises(ChangeSetError, match="and 19 more") as caught:
        await read_change_set(
            body_of(made_of(*(webhook(f"w{number}") for number in range(50))), edit), applied_at=0, token=None
        )
    assert len(caught.value.problems) == 20


async def test_two_webhooks_of_one_name_are_refused(served: Served, room: Room) -> None:
    """By the store, which knows those that are live."""
    taken = dataclasses.replace(upsert(webhook("created")), uid=WebhookUid("another"))
    made = await change_set(room, upserts=(taken,))

    response = await served.http.post("/v1/revisions", content=body_of(made), headers=NDJSON)

    assert (response.status_code, response.json()["code"]) == (422, "not_in_store")
    assert "one name: created" in response.json()["detail"]


@pytest.mark.parametrize("headers", [{}, {"content-type": "application/json"}, {**NDJSON, "content-encoding": "gzip"}])
async def test_a_change_set_comes_as_lines_of_json(served: Served, room: Room, headers: dict[str, str]) -> None:
    """415; so a form of another site could not even be mistaken for one."""
    body = body_of(await change_set(room, webhook("new")))

    assert (await served.http.post("/v1/revisions", content=body, headers=headers)).status_code == 415


@pytest.mark.parametrize(
    "what", ["its own", "another's revision", "another's webhook", "a delete", "a release", "a take"]
)
async def test_a_token_applies_for_its_owners_alone(room: Room, tmp_path: Path, what: str) -> None:
    """Manifests that name an owner without a policy would be judged by none."""
    theirs, ours = webhook("theirs"), webhook("ours")
    first = (dataclasses.replace(upsert(theirs), owner="them"),)
    revision = (await room.store.publish(await change_set(room, owner="them", upserts=first, created=1))).number
    mine = (dataclasses.replace(upsert(ours), owner="us"),)
    none: dict[str, Any] = {"owner": "us", "upserts": (), "created": 0}
    facts: dict[str, dict[str, Any]] = {
        "its own": {"owner": "us", "upserts": mine, "created": 1},
        "another's revision": {"owner": "them", "upserts": mine, "created": 1},
        "another's webhook": {"owner": "us", "upserts": (dataclasses.replace(mine[0], owner="them"),), "created": 1},
        "a delete": {**none, "deletes": (WebhookUid("theirs"),), "deleted": 1},
        "a release": {**none, "released": (WebhookUid("theirs"),), "forgotten": 1},
        "a take": {"owner": "us", "upserts": (dataclasses.replace(upsert(theirs), owner="us"),), "adopted": 1},
    }
    made = await change_set(room, **facts[what])
    app = guarded_app(room, tmp_path / "tokens.yaml")
    entry = {"token": TOKENS["pipeline"], "roles": ["apply"], "owners": ["us"]}
    (tmp_path / "tokens.yaml").write_text(json.dumps({"pipeline": entry}))

    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        http.headers.update(bearer("pipeline"))
        response = await http.post("/v1/revisions", content=body_of(made), headers=NDJSON)
        held = await http.post("/v1/holds", json={"owner": "them", "held_by": "", "reason": "x"})
        released = await http.delete("/v1/holds", params={"owner": "them"})

    assert (held.status_code, released.status_code, await room.store.holds()) == (403, 403, ())
    if what == "its own":
        assert response.status_code == 201
    else:
        assert (response.status_code, response.json()["code"]) == (403, "refused")
        assert response.json()["detail"] == "the token `pipeline` may not apply for owner `them`"
        assert await room.store.live_revision() == revision


async def test_a_browser_publishes_nothing(served: Served, room: Room) -> None:
    """Without tokens whoever is on this machine may, but no page that somebody looks at."""
    body = body_of(await change_set(room, webhook("new")))

    response = await served.http.post(
        "/v1/revisions", content=body, headers={**NDJSON, "sec-fetch-site": "same-origin"}
    )

    assert response.status_code == 403
    assert await room.store.live_revision() == 1


async def test_a_body_beyond_the_limit_is_413(served: Served, room: Room) -> None:
    """Said by its length before it is sent, and by its bytes where no length is said."""
    lines = [
        "POST /v1/revisions HTTP/1.1",
        "host: localhost",
        f"content-type: {NDJSON['content-type']}",
        "expect: 100-continue",
        f"content-length: {CHANGE_SET_MAX_BYTES + 1}",
    ]
    status, _, _ = await exchange(served.url, ("\r\n".join(lines) + "\r\n\r\n").encode(), keep_open=True)
    assert status == 413

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(CHANGE_SET_MAX_BYTES // 1_000_000 + 2):
            yield b"x" * 1_000_000

    assert (await served.http.post("/v1/revisions", content=endless(), headers=NDJSON)).status_code == 413


@pytest.mark.parametrize("number", ["0", "2", "x", "-1", "9" * 40])
async def test_a_revision_that_is_not_there_is_404(served: Served, number: str) -> None:
    """As a problem that a client can tell from a missing endpoint."""
    response = await served.http.get(f"/v1/revisions/{number}")

    assert (response.status_code, response.json()["code"]) == (404, "missing")


async def test_another_version_of_the_api_is_refused_with_both(served: Served) -> None:
    """So that an old client of a new daemon, or the other way round, says what to do."""
    response = await served.http.get("/v1/state", headers={"reconciler-api": "2"})

    assert (response.status_code, response.headers["reconciler-api"]) == (400, "1")
    assert response.json()["detail"] == "the client speaks version 2 of the API, the daemon version 1"


async def test_ids_are_found_by_their_beginnings(served: Served, room: Room) -> None:
    """As the command line's user writes them."""
    for number in (1, 2):
        await room.intake.take(raw(event(number)), source="test", idempotency_key=f"a?{number}")

    assert (await served.http.get("/v1/event-ids?prefix=a%3F")).json() == ["a?1", "a?2"]
    assert (await served.http.get("/v1/event-ids?prefix=a%3F&limit=1")).json() == ["a?1"]
    delivery = (await room.store.deliveries())[0]
    assert (await served.http.get(f"/v1/delivery-ids?prefix={delivery.id[:20]}")).json() == [delivery.id]
    assert (await served.http.get("/v1/unfinished")).json() == {"created": 2}
    assert (await served.http.get("/v1/counts")).json()["created"]["pending"] == 2


def test_the_api_carries_every_field_of_what_it_carries() -> None:
    """A field that is added to a model and not to the API would be lost on the way, silently."""
    fields = {field.name for field in dataclasses.fields(ChangeSet)}
    assert set(ChangeSetHead.model_fields) == fields

    everything = {"is_protected": True, "revision": 7, "is_intact": False}
    live = dataclasses.replace(upsert(webhook("full"), is_intact=False), owner="iam", **everything)
    assert {field.name for field in dataclasses.fields(LiveWebhook)} == {
        *everything,
        "uid",
        "owner",
        "webhook",
        "digest",
    }
    head = {
        "lineage": "l",
        "revision": 1,
        "commit": None,
        "policies": {"iam": Policy(required_labels=("a",)).model_dump()},
    }
    state = state_of(loads(json.dumps({**head, "webhooks": [live_webhook_json(live)]}).encode()))
    assert state.webhooks == (live,)
    assert state.policies == {"iam": Policy(required_labels=("a",))}

    counts = {"created": 1, "updated": 2, "renamed": 3, "deleted": 4, "adopted": 5, "forgotten": 6}
    facts = {"commit": "c", "changes": ({"a": 1},), "manifest_digest": "m", "restores": 8, "reason": "why"}
    revision = Revision(number=9, applied_at=NOW, applied_by="d", owner="o", **counts, **facts)
    assert {field.name for field in dataclasses.fields(Revision)} == {
        *counts,
        *facts,
        "number",
        "applied_at",
        "applied_by",
        "owner",
    }
    assert revision_of({**revision.to_json(), "changes": list(revision.changes)}) == revision


async def test_a_change_set_arrives_as_it_was_sent(room: Room) -> None:
    """But for the daemon's word on when."""
    made = await change_set(
        room,
        webhook("one", body_template={"z": "{{event_type}}", "a": 1}),
        policy=Policy(allowed_hosts=("*.example.com",), max_delete_percent=5),
        deletes=(WebhookUid("two"),),
        released=(WebhookUid("three"),),
        manifest_digest="m" * 64,
        restores=1,
        reason="because",
        hold=Hold("", 5, "dana", "incident"),
        adopted=1,
        forgotten=1,
        applied_by="\udcff",
        changes=({"address": "webhook.one", "note": "\ud800"},),
    )
    head, upserts, changes = _parsed(made)

    read = change_set_of(head, upserts, changes, applied_at=5, token=None)

    assert read == dataclasses.replace(made, applied_at=5, applied_by="\\udcff")


def _parsed(made: ChangeSet) -> tuple[ChangeSetHead, list[LiveWebhook], list[dict[str, Any]]]:
    head, *rest = (loads(line) for line in change_set_lines(made))
    count = len(made.upserts)
    for line in rest[:count]:
        Upsert.model_validate(line)
    return ChangeSetHead.model_validate(head), list(made.upserts), rest[count:]
