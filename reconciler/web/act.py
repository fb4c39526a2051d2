"""The page's buttons: pause and resume a webhook, replay and cancel a delivery, each behind a page that says
what it does.

Mounted by `web.app` where the daemon has tokens. The same verbs of the store, and the same entries of the audit log, as
the API's; a form is taken from a session with the role `operate` only, and answered by a redirect to what it changed.
"""

import uuid
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from reconciler.dispatch.live import Live
from reconciler.models.delivery import Action, Intervention, State, replay_id
from reconciler.models.flow import NO_HALT, Pause
from reconciler.observe.log import log
from reconciler.store.base import Store
from reconciler.store.operate import Portion, Selection, Terms, Verdict
from reconciler.store.wire import Id, line
from reconciler.web.content import token_name, warrant_of
from reconciler.web.form import Form, form_of
from reconciler.web.pages import Pages
from reconciler.web.query import current_halts

NO_REASON: Final = "Say why."
LENGTHS: Final = {  # of a pause, in seconds, as the form offers them; 0: until somebody resumes it
    0: "until it is resumed",
    1_800: "30 minutes",
    3_600: "1 hour",
    4 * 3_600: "4 hours",
    24 * 3_600: "24 hours",
}
WORDS: Final = {  # of what becomes of one delivery
    Verdict.PENDING: "it is pending already",
    Verdict.IN_FLIGHT: "it is in flight",
    Verdict.FINISHED: "it is finished already",
    Verdict.WEBHOOK_DELETED: "its webhook is deleted",
    Verdict.WEBHOOK_INACTIVE: "its webhook is inactive",
    Verdict.REPEATED: "it was done before",
}
DONE: Final = {Action.REPLAY: "Replayed.", Action.CANCEL: "Cancelled."}
WHEN_BACK: Final = "In flight: it is cancelled when it comes back undelivered."

_KEY: Final[TypeAdapter[str]] = TypeAdapter(Id)


class Acts:
    """The pages and what their forms do. `now` gives milliseconds since the epoch; `on_operate` is called when
    something may have become due."""

    def __init__(
        self, *, store: Store, live: Live, pages: Pages, now: Callable[[], int], on_operate: Callable[[], None]
    ) -> None:
        self._store = store
        self._live = live
        self._pages = pages
        self._now = now
        self._on_operate = on_operate

    def routes(self) -> list[Route]:
        """What to mount, before the pages: a delivery's id takes any path."""
        shown = {
            "/webhooks/{name}/pause": (self.ask_pause, self.pause),
            "/webhooks/{name}/resume": (self.ask_resume, self.resume),
            "/deliveries/{id:path}/replay": (self.ask_replay, self.replay),
            "/deliveries/{id:path}/cancel": (self.ask_cancel, self.cancel),
        }
        asks = [Route(path, ask, methods=["GET"]) for path, (ask, _) in shown.items()]
        return [*asks, *(Route(path, act, methods=["POST"]) for path, (_, act) in shown.items())]

    async def ask_pause(self, request: Request) -> Response:
        """What a pause would hold, and the form for its reason."""
        return await self._ask_pause(request)

    async def _ask_pause(self, request: Request, status: int = 200, *, error: str = "", seconds: int = 0) -> Response:
        return await self._ask_flow(request, "pause.html", status, lengths=LENGTHS, error=error, seconds=seconds)

    async def pause(self, request: Request) -> Response:
        """Send the webhook nothing from now on."""
        form = await form_of(request)
        if isinstance(form, Response):
            return form
        reason, seconds = line(form.text("reason")), _length(form)
        if not reason:
            return await self._ask_pause(request, 422, error=NO_REASON, seconds=seconds)
        name, now = request.path_params["name"], self._now()
        pause = Pause(now, form.session.token.name, reason, now + seconds * 1000 if seconds else None)
        await self._store.pause(name, pause, warrant=warrant_of(request, at=now, reason=reason))
        self._on_operate()
        form.session.notice = f"Paused {name}."
        return RedirectResponse(f"/webhooks/{name}", 303)

    async def ask_resume(self, request: Request) -> Response:
        """What would flow again, and how fast."""
        return await self._ask_flow(request, "resume.html")

    async def resume(self, request: Request) -> Response:
        """Send the webhook again."""
        form = await form_of(request)
        if isinstance(form, Response):
            return form
        name, is_fresh_first = request.path_params["name"], "fresh_first" in form.fields
        by = warrant_of(request, at=self._now(), reason=line(form.text("reason")))
        ended = await self._store.resume(name, fresh_first=is_fresh_first, warrant=by)
        self._on_operate()
        log("flow.resumed", webhook=name, by=token_name(request), fresh_first=is_fresh_first)
        form.session.notice = f"Resumed {name}." if ended is not None else f"{name} was not paused."
        return RedirectResponse(f"/webhooks/{name}", 303)

    async def _ask_flow(self, request: Request, template: str, status: int = 200, /, **context: object) -> Response:
        await self._live.refresh()
        live = self._pages.find(request.path_params["name"])
        halts, counts = await current_halts(self._store, self._now()), await self._store.counts()
        of = counts.get(live.uid, {})
        return self._pages.render(
            request,
            template,
            status,
            live=live,
            halt=halts.get(live.uid, NO_HALT),
            pending=of.get(State.PENDING, 0),
            in_flight=of.get(State.IN_FLIGHT, 0),
            backlog=(await self._store.flow(live.webhook.name)).expected(live.webhook).estimate(),
            **context,
        )

    async def ask_replay(self, request: Request) -> Response:
        """What a replay would do to the delivery."""
        return await self._ask_intervention(request, Action.REPLAY)

    async def ask_cancel(self, request: Request) -> Response:
        """What a cancel would do to the delivery."""
        return await self._ask_intervention(request, Action.CANCEL)

    async def _ask_intervention(self, request: Request, action: Action) -> Response:
        found = await self._store.delivery(request.path_params["id"])
        if found is None:
            raise HTTPException(404)
        delivery, _ = found
        where = Selection(ids=(delivery.id,))
        plain = _verdict(await self._store.survey(where, action))
        can_be_new = False
        if action is Action.REPLAY:
            anew = _verdict(await self._store.survey(where, action, terms=Terms(is_new_id=True)))
            can_be_new = anew is Verdict.DONE
        return self._pages.render(
            request,
            "intervene.html",
            delivery=delivery,
            action=action.value,
            verdict=plain,
            can_be_new=can_be_new,
            why_not=WORDS.get(plain, ""),
            key=uuid.uuid4().hex,
        )

    async def replay(self, request: Request) -> Response:
        """Make the delivery due again."""
        return await self._intervene(request, Action.REPLAY)

    async def cancel(self, request: Request) -> Response:
        """Cancel the delivery."""
        return await self._intervene(request, Action.CANCEL)

    async def _intervene(self, request: Request, action: Action) -> Response:
        form = await form_of(request)
        if isinstance(form, Response):
            return form
        id_, now, who = request.path_params["id"], self._now(), form.session.token.name
        if await self._store.delivery(id_) is None:
            raise HTTPException(404)
        how = Intervention(_key(form), action, now, who, line(form.text("reason")))
        by = warrant_of(request, at=now, reason=how.reason)
        terms = Terms(is_new_id=action is Action.REPLAY and "new_id" in form.fields)
        portion = await self._store.intervene(Selection(ids=(id_,)), how, terms=terms, warrant=by)
        if portion.done:
            self._on_operate()
        log("delivery.intervened", action=action.value, done=portion.done, by=who, why=how.reason, key=how.key)
        form.session.notice = _told(portion, action)
        shown = replay_id(id_, how.key) if terms.is_new_id and portion.done else id_
        return RedirectResponse(f"/deliveries/{quote(shown, safe='')}", 303)


def _verdict(portion: Portion) -> Verdict:
    """What becomes of the one delivery of a portion."""
    found = [verdict for of in portion.counts.values() for verdict, number in of.items() if number]
    return found[0] if found else Verdict.FINISHED


def _told(portion: Portion, action: Action) -> str:
    verdict = _verdict(portion)
    if verdict is Verdict.WHEN_BACK:
        return WHEN_BACK
    return DONE[action] if verdict is Verdict.DONE else f"Nothing was done: {WORDS[verdict]}."


def _key(form: Form) -> str:
    """The key that the form was shown with, so that a form sent twice does its work once; else a new one."""
    try:
        return _KEY.validate_python(form.text("key"))
    except ValidationError:
        return uuid.uuid4().hex


def _length(form: Form) -> int:
    """How long a pause is to hold, of those that the form offers; 0 where it says none of them."""
    text = form.text("seconds")
    return int(text) if text in {f"{seconds}" for seconds in LENGTHS} else 0
