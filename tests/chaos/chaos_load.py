"""Load: access requests of four events each, interleaved, posted by a careful sender that keeps a list of what was
acknowledged. Used by the tests of this folder."""

import json
import threading
from collections.abc import Callable
from typing import Any, Self

import httpx

WINDOW = 20  # requests under way at once
STEPS = 4  # events of each
KINDS = ("Created", "Approved", "Granted", "Expired")


def event(number: int, *, flows: int = 1, **data: Any) -> dict[str, Any]:
    """The event of this number: of requests in rounds of WINDOW, step by step; it calls itself REQUEST.STEP."""
    round_, within = divmod(number, WINDOW * STEPS)
    step, place = divmod(within, WINDOW)
    request = round_ * WINDOW + place
    return {
        "event_type": f"AccessRequest{KINDS[step]}",
        "event_time": 1_795_424_400 + number,
        "data": {
            "id": f"request-{request}",
            "friendly_id": f"AR-{request}.{step}",
            "access_groups": [{"integration": {"name": f"flow-{request % flows}"}}],
            **data,
        },
    }


class Sender:
    """A thread that posts batch after batch, each until it is acknowledged, whatever happens to the daemon meanwhile.

    A context manager: on exit the batch under way is brought to its end. `url` is asked anew for each try.
    """

    def __init__(self, url: Callable[[], str], *, flows: int = 1, batch: int = 5, pause: float = 0.02) -> None:
        self._url = url
        self._flows = flows
        self._batch = batch
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._next = 0
        self.acknowledged: dict[str, str] = {}  # by the event's id: what it calls itself
        self.refused: list[int] = []  # status codes other than 202
        self.problem: str | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the last batch was never acknowledged"
        assert self.problem is None, self.problem

    def _run(self) -> None:
        with httpx.Client(timeout=10, trust_env=False) as client:
            while not self._stop.is_set() and self.problem is None:
                batch = [event(self._next + n, flows=self._flows) for n in range(self._batch)]
                self._send(client, batch)
                self._next += self._batch
                self._stop.wait(self._pause)

    def _send(self, client: httpx.Client, batch: list[dict[str, Any]]) -> None:
        body = "\n".join(json.dumps(item) for item in batch).encode()
        headers = {"content-type": "application/x-ndjson"}
        patience = threading.Event()
        for _ in range(600):
            try:
                answer = client.post(f"{self._url()}/v1/events", content=body, headers=headers)
            except httpx.TransportError:
                patience.wait(0.05)
                continue
            if answer.status_code == 202:
                self._note(batch, answer.json())
                return
            self.refused.append(answer.status_code)
            patience.wait(0.1)
        self.problem = "a batch was never acknowledged"

    def _note(self, batch: list[dict[str, Any]], answer: dict[str, Any]) -> None:
        if answer["accepted"] + answer["duplicates"] != len(batch):
            self.problem = f"not everything was taken: {answer}"
        for item, told in zip(batch, answer["events"], strict=True):
            self.acknowledged[told["id"]] = item["data"]["friendly_id"]
