"""An attempt on its short way: written at once over an idle connection, ended by the answer that calls back.

Begun by `egress.deliver`. It needs no task unless the body is still to come; what it comes to is found out by the same
code as any other attempt.
"""

import asyncio
import contextlib
from collections.abc import Callable

import httpx

from reconciler.egress.client import Begin
from reconciler.egress.exchange import Exchange
from reconciler.egress.form import Form
from reconciler.egress.http1 import Answer
from reconciler.egress.received import Answers, Received
from reconciler.egress.result import WELL, Met, classify, result_of
from reconciler.models.delivery import AttemptResult
from reconciler.request.draft import Draft

OnEnd = Callable[[AttemptResult | Exception], None]


class Flight:
    """One attempt, from the write to its result."""

    __slots__ = ("_abort", "_answers", "_draft", "_exchange", "_form", "_now", "_on_end", "_reading")

    def __init__(self, form: Form, draft: Draft, *, answers: Answers, now: Callable[[], float], on_end: OnEnd) -> None:
        """`answers` are those that came lately to the same masker, `now` is the wall clock in seconds since the
        epoch."""
        self._form = form
        self._draft = draft
        self._answers = answers
        self._now = now
        self._on_end = on_end
        self._exchange = Exchange(seconds=form.timeout_seconds)
        self._reading: asyncio.Task[None] | None = None
        self._abort: Callable[[], None] | None = None

    def is_begun(self, begin: Begin) -> bool:
        """Write the request by `begin`, that of the transport; False where there is no connection for it."""
        self._abort = begin(self._form.origin, self._form.fill(self._draft), self._exchange, self._on_answer)
        return self._abort is not None

    def cut(self) -> None:
        """End it at once; nobody is told."""
        if self._reading is not None:
            self._reading.cancel()
        if self._abort is not None:
            self._abort()

    def _on_answer(self, answer: Answer | httpx.TransportError) -> None:
        try:
            ended = self._take(answer)
        except Exception as exc:
            self._on_end(exc)
        else:
            if ended is not None:
                self._end(*ended)

    def _take(self, answer: Answer | httpx.TransportError) -> tuple[Met, Received] | None:
        """What was met, and what arrived; None while the body is still to come."""
        form = self._form
        # 1. no answer  2. one that is remembered  3. another that is here as a whole  4. one whose body is to come
        if not isinstance(answer, Answer):
            met = classify(answer, self._exchange, form.timeout_seconds)
            return met, Received(form.masker, judged_max=form.judged_max)
        known = self._answers.of(answer)
        if known is not None:
            return WELL, known
        received = Received(form.masker, judged_max=form.judged_max)
        received.take_head(answer.status, answer.reason_phrase.decode("ascii", "ignore"), answer.headers)
        if isinstance(answer.body, bytes):
            received.take_body(answer.body)
            return WELL, received
        self._reading = asyncio.get_running_loop().create_task(self._read(answer.body, received))
        return None

    async def _read(self, body: httpx.AsyncByteStream, received: Received) -> None:
        met = WELL
        try:
            async with contextlib.aclosing(body):
                await received.read_body(body)
        except httpx.TransportError as exc:
            met = classify(exc, self._exchange, self._form.timeout_seconds)
        except Exception as exc:
            self._on_end(exc)
            return
        self._end(met, received)

    def _end(self, met: Met, received: Received) -> None:
        form = self._form
        try:
            result = result_of(
                met,
                self._exchange,
                received,
                request=form.show(self._draft),
                body_bytes=len(self._draft.body or b""),
                validators=form.validators,
                masker=form.masker,
                now=self._now(),
            )
        except Exception as exc:
            self._on_end(exc)
        else:
            self._on_end(result)
