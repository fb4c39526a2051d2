"""The doctor behind the API: what is wrong with the daemon's store, secrets and receivers, as `doctor` tells it.

Mounted by `web.app`. One look at a time, and what it found is told for some seconds: each dials every receiver.
"""

import asyncio
import time
from enum import StrEnum
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler.dispatch.doctor import Doctor, How
from reconciler.models.diagnosis import Diagnosis
from reconciler.store.wire import dumps
from reconciler.web.api import choice_of

TOLD_SECONDS: Final = 5.0


class YesNo(StrEnum):
    """A switch in a query."""

    YES = "yes"
    NO = "no"


class DoctorApi:
    """The endpoint over one doctor."""

    def __init__(self, doctor: Doctor) -> None:
        self._doctor = doctor
        self._turn = asyncio.Lock()
        self._told: dict[How, tuple[float, Diagnosis]] = {}

    def routes(self) -> list[Route]:
        """What to mount."""
        return [Route("/v1/doctor", self.diagnosis, methods=["GET"])]

    async def diagnosis(self, request: Request) -> Response:
        """The diagnosis; with `connect=yes` receivers are shaken hands with by TLS."""
        how = How(dials=choice_of(request.query_params, "connect", YesNo) is YesNo.YES)
        async with self._turn:
            at, found = self._told.get(how, (0.0, None))
            if found is None or time.monotonic() - at > TOLD_SECONDS:
                found = await self._doctor.diagnose(how)
                self._told[how] = time.monotonic(), found
        return Response(dumps(found.to_json()), media_type="application/json")
