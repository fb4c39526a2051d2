"""A store behind its daemon: the verbs that commands use, over the daemon's API.

Opened by `cli.state` for `https://DAEMON`, and `http://` on loopback. What a store answers is decided by the daemon,
the compare-and-set of `publish` above all; here are only questions and answers, and what to say when one fails.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import quote

from reconciler import VERSION
from reconciler.client.connection import DaemonAddress, DaemonError, problem_of, refusal
from reconciler.models.audit import UNKNOWN, AuditEntry, AuditHead, AuditRow, Deed, Warrant
from reconciler.models.delivery import Action, Attempt, Delivery, DeliveryId, Intervention, State
from reconciler.models.diagnosis import Diagnosis, diagnosis_of
from reconciler.models.event import EventId
from reconciler.models.flow import Backlog, Flow, Halt, Pause
from reconciler.models.revision import ChangeSet, Hold, LiveState, Revision
from reconciler.models.webhook import WebhookUid
from reconciler.store.base import DeliveryFilter, EventStatus, Page, StoredEvent
from reconciler.store.match_error import MatchError, MatchErrorFilter
from reconciler.store.operate import Portion, Selection, Terms
from reconciler.store.wire import (
    API_HEADER,
    API_NUMBER,
    CHANGE_SET_MAX_BYTES,
    CHANGE_SET_TYPE,
    HoldOrder,
    attempt_of,
    change_set_lines,
    delivery_of,
    dumps,
    event_of,
    hold_of,
    line,
    loads,
    match_error_of,
    revision_of,
    state_of,
)
from reconciler.store.wire_audit import TestBody, audit_entry_of, audit_head_of, audit_row_of
from reconciler.store.wire_flow import PauseBody, backlog_of, flow_of, halt_of, pause_of
from reconciler.store.wire_operate import event_replay_body, intervention_of, operate_body, portion_of

if TYPE_CHECKING:
    import httpx

    from reconciler.dispatch.replay import EventReplay
    from reconciler.dispatch.trigger import Fired

PUBLISH_SECONDS: Final = 600.0  # ten thousand webhooks are judged and stored in some; a loaded daemon may need more
STEER_SECONDS: Final = 600.0  # to cancel a million deliveries, some hundreds at a time
DOCTOR_SECONDS: Final = 180.0  # it reads a large store for a while, and dials every receiver
PAGE_MAX: Final = 1000  # the most that the API lists at once
EVENTS_PAGE_MAX: Final = 100  # each comes with what was received, up to 256 KiB
NEWEST: Final = Page()
ANY: Final = DeliveryFilter()
AT_ONCE: Final = Terms()
ANY_MATCH_ERROR: Final = MatchErrorFilter()
HISTORY_TELLS: Final = "whether it was done is unknown: `reconciler history` tells; a plan applies only once"
JSON_TYPE: Final = {"content-type": "application/json"}

T = TypeVar("T")
Query = Mapping[str, str | int | None]


class RemoteStore:
    """One daemon's store. An async context manager; every verb raises DaemonError besides what `store.base` says."""

    def __init__(self, daemon: DaemonAddress) -> None:
        self._daemon = daemon
        self._state: tuple[str, LiveState] | None = None  # the live one and its tag

    async def __aenter__(self) -> Self:
        import httpx

        options = self._daemon.http_options()
        options["headers"][API_HEADER] = API_NUMBER
        self._http = httpx.AsyncClient(**options)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._http.aclose()

    # Revisions

    async def live_revision(self) -> int:
        found = await self.revisions(Page(1))
        return found[0].number if found else 0

    async def live_state(self, revision: int | None = None) -> LiveState:
        held = self._state if revision is None else None
        headers = {} if held is None else {"if-none-match": held[0]}
        response = await self._send("GET", "/v1/state", query={"revision": revision}, headers=headers)
        if held is not None and response.status_code == 304:
            return held[1]
        state = self._read(response, state_of)
        if revision is None and "etag" in response.headers:
            self._state = response.headers["etag"], state
        return state

    async def publish(self, change_set: ChangeSet, *, warrant: Warrant = UNKNOWN) -> Revision:
        body = b"\n".join(change_set_lines(change_set))
        if len(body) > CHANGE_SET_MAX_BYTES:
            raise DaemonError(
                f"the changes are more than a daemon takes at once: {len(body)} bytes of {CHANGE_SET_MAX_BYTES}",
                hint="apply a part of them first, with `--target`",
            )
        response = await self._send(
            "POST", "/v1/revisions", body=body, headers={"content-type": CHANGE_SET_TYPE}, seconds=PUBLISH_SECONDS
        )
        return self._read(response, revision_of)

    async def revisions(self, page: Page = NEWEST) -> tuple[Revision, ...]:
        found = self._listed("/v1/revisions", page, {}, cursor=lambda item: str(item["revision"]))
        return tuple([self._made(item, revision_of) async for item in found])

    async def revision(self, number: int) -> Revision | None:
        response = await self._send("GET", f"/v1/revisions/{number}")
        return None if _is_missing(response) else self._read(response, revision_of)

    async def unfinished(self) -> Mapping[WebhookUid, int]:
        return self._read(await self._send("GET", "/v1/unfinished"), dict)

    async def holds(self) -> tuple[Hold, ...]:
        return self._read(await self._send("GET", "/v1/holds"), lambda found: tuple(hold_of(item) for item in found))

    async def set_hold(self, owner: str, hold: Hold | None, *, warrant: Warrant = UNKNOWN) -> None:
        if hold is None:
            response = await self._send("DELETE", "/v1/holds", query={"owner": owner, **_said(warrant)})
        else:
            body = HoldOrder.of(hold).model_dump_json().encode()
            response = await self._send("POST", "/v1/holds", body=body, headers={"content-type": "application/json"})
        if not response.is_success:
            raise refusal(response)

    # Events and deliveries

    async def events(self, page: Page = NEWEST, *, status: EventStatus | None = None) -> tuple[StoredEvent, ...]:
        query = {"view": "stored", "status": None if status is None else status.value}
        found = self._listed("/v1/events", page, query, most=EVENTS_PAGE_MAX)
        return tuple([self._made(item, event_of) async for item in found])

    async def event(self, event_id: str) -> StoredEvent | None:
        response = await self._send("GET", f"/v1/events/{_segment(event_id)}", query={"view": "stored"})
        return None if _is_missing(response) else self._read(response, event_of)

    async def event_ids(self, prefix: str, *, limit: int) -> tuple[EventId, ...]:
        return self._read(await self._send("GET", "/v1/event-ids", query={"prefix": prefix, "limit": limit}), tuple)

    async def match_errors(
        self, *, where: MatchErrorFilter = ANY_MATCH_ERROR, limit: int = 50, after: str | None = None
    ) -> tuple[MatchError, ...]:
        found: list[MatchError] = []
        while len(found) < limit:
            most = min(limit - len(found), PAGE_MAX)
            query = {"webhook": where.webhook, "event": where.event_id, "limit": most, "after": after}
            response = await self._send("GET", "/v1/match-errors", query=query)
            listed = [self._made(item, match_error_of) for item in self._read(response, _items)]
            found += listed
            if len(listed) < most:
                break
            after = listed[-1].id
        return tuple(found)

    async def match_error_counts(self) -> Mapping[WebhookUid, int]:
        return self._read(await self._send("GET", "/v1/match-error-counts"), dict)

    async def deliveries(self, page: Page = NEWEST, *, where: DeliveryFilter = ANY) -> tuple[Delivery, ...]:
        state = None if where.state is None else where.state.value
        query = {"webhook": where.webhook, "state": state, "event": where.event_id}
        return tuple([self._made(item, delivery_of) async for item in self._listed("/v1/deliveries", page, query)])

    async def delivery(self, delivery_id: str) -> tuple[Delivery, tuple[Attempt, ...]] | None:
        response = await self._send("GET", f"/v1/deliveries/{_segment(delivery_id)}")
        return None if _is_missing(response) else self._read(response, _delivery_in_full)

    async def delivery_ids(self, prefix: str, *, limit: int) -> tuple[DeliveryId, ...]:
        return self._read(await self._send("GET", "/v1/delivery-ids", query={"prefix": prefix, "limit": limit}), tuple)

    async def counts(self) -> Mapping[WebhookUid, Mapping[State, int]]:
        return self._read(await self._send("GET", "/v1/counts"), _counts_of)

    # Interventions

    async def survey(
        self, where: Selection, action: Action, *, terms: Terms = AT_ONCE, at: str | None = None
    ) -> Portion:
        return await self._operate("/v1/deliveries/survey", operate_body(where, action, terms=terms, at=at))

    async def intervene(
        self,
        where: Selection,
        how: Intervention,
        *,
        terms: Terms = AT_ONCE,
        at: str | None = None,
        warrant: Warrant = UNKNOWN,
    ) -> Portion:
        body = operate_body(where, how.action, terms=terms, at=at, how=how)
        return await self._operate(f"/v1/deliveries/{how.action.value}", body)

    async def replay_event(
        self, event_id: str, mended: bytes | None = None, warrant: Warrant = UNKNOWN
    ) -> "EventReplay":
        """Judge an event again, as `Replayer.replay` does; what that refuses is a DaemonError."""
        body = event_replay_body(event_id, mended, warrant)
        response = await self._send("POST", "/v1/events/replay", body=body, headers=JSON_TYPE)
        return self._read(response, _event_replay_of)

    async def fire(self, name: str, raw: bytes, *, given_id: str | None = None, warrant: Warrant = UNKNOWN) -> "Fired":
        """Fire a Manual webhook, as `dispatch.trigger.fire` does; what that refuses is a DaemonError."""
        path = f"/v1/webhooks/{_segment(name)}/trigger"
        response = await self._send("POST", path, query={"id": given_id, **_said(warrant)}, body=raw, headers=JSON_TYPE)
        return self._read(response, _fired_of)

    async def _operate(self, path: str, body: bytes) -> Portion:
        response = await self._send("POST", path, body=body, headers=JSON_TYPE)
        return self._read(response, portion_of)

    # Flow

    async def halts(self) -> Mapping[WebhookUid, Halt]:
        return self._read(await self._send("GET", "/v1/halts"), _halts_of)

    async def flow(self, name: str) -> Flow:
        return self._read(await self._send("GET", f"/v1/webhooks/{_segment(name)}/flow"), flow_of)

    async def pause(self, name: str, pause: Pause, *, warrant: Warrant = UNKNOWN) -> None:
        await self._steer(name, "pause", body=PauseBody.of(pause))

    async def resume(self, name: str, *, fresh_first: bool = False, warrant: Warrant = UNKNOWN) -> Pause | None:
        response = await self._steer(name, "resume", body=dumps({"fresh_first": fresh_first, **_signed(warrant)}))
        return self._read(response, lambda value: pause_of(value["paused"]))

    async def backlog(self, name: str) -> Backlog:
        return self._read(await self._send("GET", f"/v1/webhooks/{_segment(name)}/backlog"), backlog_of)

    async def compact(self, name: str, *, warrant: Warrant = UNKNOWN) -> int:
        response = await self._steer(name, "compact", body=dumps(_signed(warrant)))
        return self._read(response, lambda value: int(value["cancelled"]))

    # Audit

    async def audit(self, *, limit: int = 50, before: int | None = None) -> tuple[AuditEntry, ...]:
        page = Page(limit, None if before is None else str(before))
        found = self._listed("/v1/audit", page, {}, cursor=lambda item: str(item["number"]))
        return tuple([self._made(item, audit_entry_of) async for item in found])

    async def audit_rows(self, *, after: int, limit: int) -> tuple[AuditRow, ...]:
        query = {"after": after, "limit": min(limit, PAGE_MAX)}
        response = await self._send("GET", "/v1/audit/rows", query=query)
        return tuple(self._made(item, audit_row_of) for item in self._read(response, _items))

    async def audit_head(self) -> AuditHead:
        return self._read(await self._send("GET", "/v1/audit/head"), audit_head_of)

    async def record(self, deed: Deed) -> None:
        is_part = deed.details.get("verifies") is True
        path = "/v1/audit/verifications" if is_part else "/v1/audit/tests"
        response = await self._send("POST", path, body=TestBody.of(deed), headers=JSON_TYPE)
        if not response.is_success:
            raise refusal(response)

    async def doctor(self, *, dials: bool) -> Diagnosis:
        """What the daemon finds wrong, as `dispatch.doctor` does."""
        query = {"connect": "yes" if dials else "no"}
        response = await self._send("GET", "/v1/doctor", query=query, seconds=DOCTOR_SECONDS)
        return self._read(response, diagnosis_of)

    async def _steer(self, name: str, verb: str, *, body: bytes) -> "httpx.Response":
        """A change of one webhook's flow. Raises what a refusal means."""
        path = f"/v1/webhooks/{_segment(name)}/{verb}"
        headers = {"content-type": "application/json"}
        response = await self._send("POST", path, body=body, headers=headers, seconds=STEER_SECONDS)
        if not response.is_success:
            raise refusal(response)
        return response

    # Asking

    async def _listed(
        self,
        path: str,
        page: Page,
        query: Query,
        *,
        most: int = PAGE_MAX,
        cursor: Callable[[Mapping[str, Any]], str] = lambda item: str(item["id"]),
    ) -> AsyncIterator[Mapping[str, Any]]:
        """The items of a listing, page by page, up to the limit."""
        left, before = page.limit, page.before
        while left > 0:
            limit = min(left, most)
            response = await self._send("GET", path, query={**query, "limit": limit, "before": before})
            found = self._read(response, _items)
            for item in found:
                yield item
            if len(found) < limit:
                return
            left -= len(found)
            before = self._made(found[-1], cursor)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> "httpx.Response":
        """The answer, which speaks our version of the API. Raises DaemonError where there is none."""
        import httpx

        said = "&".join(
            f"{key}={quote(str(value), safe='', errors='backslashreplace')}"
            for key, value in (query or {}).items()
            if value is not None
        )
        url = f"{self._daemon.url}{path}{'?' if said else ''}{said}"
        timeout = httpx.USE_CLIENT_DEFAULT if seconds is None else httpx.Timeout(seconds)
        try:
            response = await self._http.request(method, url, content=body, headers=headers, timeout=timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            failure = self._daemon.unreachable(exc)
            if method != "GET" and not isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout):
                failure.hint = _unknown(path)
            raise failure from exc
        self._check_version(response, _unknown(path) if method != "GET" else "")
        return response

    def _check_version(self, response: "httpx.Response", unknown: str) -> None:
        """Whether the other side is a daemon that we understand. `unknown` is what to say where a proxy has passed on
        what was to be done, and then got no answer."""
        spoken = response.headers.get(API_HEADER)
        if spoken == API_NUMBER:
            return
        status = response.status_code
        if spoken is None:
            raise self._daemon.stranger(status, unknown)
        is_newer = spoken.isdigit() and int(spoken[:9]) > int(API_NUMBER)
        raise DaemonError(
            f"the daemon speaks version {spoken:.20} of the API, this reconciler ({VERSION}) version {API_NUMBER}",
            status=status,
            hint="upgrade this reconciler to the daemon's version" if is_newer else "upgrade the daemon",
        )

    def _read(self, response: "httpx.Response", make: Callable[[Any], T]) -> T:
        """What a successful answer says. Raises what a refusal means."""
        if not response.is_success:
            raise refusal(response)
        try:
            value = loads(response.content)
        except ValueError as exc:
            raise self._unreadable() from exc
        return self._made(value, make)

    def _made(self, value: Any, make: Callable[[Any], T]) -> T:
        try:
            return make(value)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:  # pydantic's errors are ValueErrors
            raise self._unreadable() from exc

    def _unreadable(self) -> DaemonError:
        return DaemonError(
            f"the answer of {self._daemon.url} cannot be read",
            hint=f"the daemon may be another version than this reconciler ({VERSION}): use the daemon's",
        )


def _is_missing(response: "httpx.Response") -> bool:
    """Whether the daemon says that it has no such thing; a 404 that says something else is a refusal."""
    return response.status_code == 404 and problem_of(response).get("code") == "missing"


def _unknown(path: str) -> str:
    """What to say of something to be done, if no answer came."""
    return HISTORY_TELLS if path == "/v1/revisions" else "whether it was done is unknown"


def _segment(text: str) -> str:
    """An id from outside as one segment of a path; dots too, since `..` would be taken for the way up."""
    return quote(text, safe="", errors="backslashreplace").replace(".", "%2E")


def _said(warrant: Warrant) -> dict[str, str | None]:
    """What a client says of itself, for a query."""
    return {"behalf": line(warrant.behalf) or None, "reason": line(warrant.reason) or None}


def _signed(warrant: Warrant) -> dict[str, str]:
    """The same for a body."""
    return {"by": line(warrant.behalf), "reason": line(warrant.reason)}


def _items(value: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _delivery_in_full(value: Mapping[str, Any]) -> tuple[Delivery, tuple[Attempt, ...]]:
    interventions = tuple(intervention_of(item) for item in value.get("interventions", ()))
    delivery = replace(delivery_of(value), interventions=interventions)
    return delivery, tuple(attempt_of(item) for item in value["attempt_log"])


def _halts_of(value: Mapping[str, Mapping[str, Any]]) -> dict[WebhookUid, Halt]:
    return {WebhookUid(uid): halt_of(halt) for uid, halt in value.items()}


def _fired_of(value: Mapping[str, Any]) -> "Fired":
    from reconciler.dispatch.trigger import Fired

    return Fired(
        value["webhook"], EventId(value["event_id"]), DeliveryId(value["delivery_id"]), EventStatus(value["status"])
    )


def _event_replay_of(value: Mapping[str, Any]) -> "EventReplay":
    from reconciler.dispatch.intake import IntakeAnswer, ItemAnswer
    from reconciler.dispatch.rejudge import Rejudged
    from reconciler.dispatch.replay import EventReplay

    items = (ItemAnswer(item["id"], EventStatus(item["status"]), item["problem"]) for item in value["events"])
    told = value.get("match_errors")
    rejudged = None
    if told is not None:
        rejudged = Rejudged(told["wanted"], told["unwanted"], told["failed"], told["deliveries"])
    return EventReplay(EventId(value["id"]), IntakeAnswer(tuple(items)), rejudged)


def _counts_of(value: Mapping[str, Mapping[str, int]]) -> dict[WebhookUid, dict[State, int]]:
    return {WebhookUid(uid): {State(state): number for state, number in of.items()} for uid, of in value.items()}
