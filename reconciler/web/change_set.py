"""A change set that a client sends: lines of JSON to a ChangeSet in which every document is valid.

Called by `web.state`. A client's own checks count for nothing here: what is read is what the store will hold and the
dispatcher will obey. Ten thousand documents take seconds to judge, so the work is done in slices between which the
loop serves everybody else.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import orjson
from pydantic import ValidationError

from reconciler.errors import ReconcilerError
from reconciler.jsontext import DEPTH_MAX, check_depth
from reconciler.manifest.field import field_faults
from reconciler.manifest.validate import Judge
from reconciler.models.fault import Fault, join_path
from reconciler.models.field import Model
from reconciler.models.revision import ChangeSet, LiveWebhook
from reconciler.models.webhook import Webhook, WebhookUid
from reconciler.store.wire import ChangeSetHead, Document, Upsert, change_set_of, loads

SLICE_SECONDS: Final = 0.005  # of work at a time, in the loop that takes events in
PROBLEMS_MAX: Final = 20  # more are not looked for: a client that is this far off is broken or hostile
VERSION_HINT: Final = "the client may be another version of reconciler than the daemon: use the daemon's"
INVALID: Final = Fault("field.value", (), "not valid")

M = TypeVar("M", bound=Model)


class ChangeSetError(ReconcilerError):
    """The lines are no change set; `problems` are JSON: line, path, code, message, hint."""

    def __init__(self, problems: list[dict[str, Any]]) -> None:
        first, more = problems[0], len(problems) - 1
        where = f"line {first['line']}" + (f", {first['path']}" if first["path"] else "")
        super().__init__(
            f"the change set cannot be stored: {where}: {first['message']}" + (f" (and {more} more)" if more else ""),
            hint=first["hint"],
        )
        self.problems = problems


class Slices:
    """Lets the loop turn whenever enough work has been done in one go."""

    def __init__(self, seconds: float = SLICE_SECONDS) -> None:
        self._seconds = seconds
        self._began = time.monotonic()

    async def breathe(self) -> None:
        """Call between two small pieces of work."""
        if time.monotonic() - self._began >= self._seconds:
            await asyncio.sleep(0)
            self._began = time.monotonic()


async def read_change_set(body: bytes, *, applied_at: int, token: str | None) -> ChangeSet:
    """The change set of a request's body; the daemon's word on when, and on who if `token` names one. Raises
    ChangeSetError."""
    reading = _Reading(body)
    return change_set_of(*await reading.read(), applied_at=applied_at, token=token)


def said_by(body: bytes) -> str:
    """Who the client says has applied a change set that was read, whatever its token says."""
    return str(loads(body.split(b"\n", 1)[0])["applied_by"])


class _Reading:
    """One pass over the lines; problems are collected, up to PROBLEMS_MAX."""

    def __init__(self, body: bytes) -> None:
        self._lines = body.removesuffix(b"\n").split(b"\n")
        self._judge = Judge()
        self._slices = Slices()
        self._problems: list[dict[str, Any]] = []
        self._uids: set[str] = set()

    async def read(self) -> tuple[ChangeSetHead, list[LiveWebhook], list[dict[str, Any]]]:
        head = self._head()
        first_change = 1 + head.upserts
        upserts: list[LiveWebhook] = []
        for number in range(1, first_change):
            live = self._upsert(number)
            if live is not None:
                upserts.append(live)
            await self._slices.breathe()
        changes: list[dict[str, Any]] = []
        for number in range(first_change, len(self._lines)):
            changes.append(self._object(number))
            await self._slices.breathe()
        if self._problems:
            raise ChangeSetError(self._problems)
        return head, upserts, changes

    def _head(self) -> ChangeSetHead:
        """The first line, if as many follow as it says; nothing else can be judged without it."""
        head = self._model(0, ChangeSetHead)
        if head is None:
            raise ChangeSetError(self._problems)
        wanted, found = head.upserts + head.changes, len(self._lines) - 1
        if wanted != found:
            self._report(0, "change_set.lines", f"{wanted} lines must follow, {found} do")
            raise ChangeSetError(self._problems)
        for uid in (*head.deletes, *head.released):
            self._take_uid(0, uid)
        return head

    def _upsert(self, number: int) -> LiveWebhook | None:
        line = self._model(number, Upsert)
        if line is None:
            return None
        self._take_uid(number, line.uid)
        webhook = self._webhook(number, line.document)
        if webhook is None:
            return None
        digest = webhook.digest()
        if digest != line.digest:
            message = f"the digest of {webhook.name} is not that of its document"
            self._report(number, "change_set.digest", message, path="digest", hint=VERSION_HINT)
        return LiveWebhook(WebhookUid(line.uid), line.owner, webhook, digest, line.protected, 0)

    def _webhook(self, number: int, document: Document) -> Webhook | None:
        value = {"metadata": document.metadata, "spec": document.spec}
        try:
            check_depth(value)
            webhook, faults = self._judge.stored(value)
        except (ValueError, RecursionError):
            webhook, faults = None, [Fault("field.depth", (), f"nested deeper than {DEPTH_MAX} levels")]
        if webhook is None and not faults:
            faults = [INVALID]
        for fault in faults:
            path = join_path(("document", *fault.path))
            self._report(number, fault.code, fault.message, path=path, hint=fault.hint)
        return webhook

    def _take_uid(self, number: int, uid: str) -> None:
        if uid in self._uids:
            self._report(number, "change_set.uid", f"the uid stands twice: {uid}")
        self._uids.add(uid)

    def _model(self, number: int, model: type[M]) -> M | None:
        value = self._object(number, parse=orjson.loads)
        try:
            return model.model_validate(value)
        except ValidationError as exc:
            for fault in list(field_faults(exc, model, value)) or [INVALID]:
                hint = VERSION_HINT if fault.code == "field.unknown" else fault.hint
                self._report(number, fault.code, fault.message, path=join_path(fault.path), hint=hint)
        return None

    def _object(self, number: int, *, parse: Callable[[bytes], Any] = loads) -> dict[str, Any]:
        """A line's JSON object; one that is none is reported, and ends the reading."""
        try:
            value = parse(self._lines[number])
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            self._report(number, "change_set.json", "not a JSON object")
            raise ChangeSetError(self._problems)
        return value

    def _report(self, number: int, code: str, message: str, *, path: str = "", hint: str = "") -> None:
        """One more problem; the last that is looked for ends the reading."""
        self._problems.append({"line": number + 1, "path": path, "code": code, "message": message, "hint": hint})
        if len(self._problems) >= PROBLEMS_MAX:
            raise ChangeSetError(self._problems)
