"""The dispatcher's job as a Celery task over Redis: render, sign, POST, and keep what came of it.

Loaded by Celery's worker, and used by `dispatch.py` beside this file to fill the queue. Redis appends each write to its
file and syncs it, acks come late, and the client is urllib3 with connections kept: what a careful team would choose.
"""

import base64
import hmac
import json
import os
import time
from typing import Any, Final

import redis
import urllib3
from celery import Celery

REDIS: Final = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")
ATTEMPTS: Final = "attempts"

app = Celery("job", broker=REDIS)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)
_log: Any = redis.Redis.from_url(REDIS)
_key = base64.b64decode(os.environ.get("BENCH_SIGNING_KEY", "whsec_").removeprefix("whsec_"))
_pool = urllib3.HTTPSConnectionPool(
    "127.0.0.1",
    int(os.environ.get("BENCH_PORT", "443")),
    maxsize=64,
    block=True,
    ca_certs=os.environ.get("BENCH_CA"),
    server_hostname=os.environ.get("BENCH_HOST"),
    assert_hostname=os.environ.get("BENCH_HOST"),
)


@app.task(name="deliver")  # type: ignore[untyped-decorator]  # Celery has no types
def deliver(event: dict[str, Any]) -> None:
    """One delivery and its line in the log of attempts."""
    group = event["data"]["access_groups"][0]
    fields = {
        "event type": event["event_type"],
        "event time": event["event_time"],
        "requestor email": event["data"]["requester"]["email"],
        "integration name": group["integration"]["name"],
        "resource type": group["resource_types"][0]["name"],
        "access units": group["access_units"][0]["resource"]["name"],
    }
    body = json.dumps({"fields": fields}).encode()
    at, name = time.time(), event["data"]["id"]
    signature = base64.b64encode(hmac.digest(_key, f"{name}.{int(at)}.".encode() + body, "sha256")).decode()
    headers = {
        "host": os.environ.get("BENCH_HOST", ""),
        "content-type": "application/json",
        "x-api-client-token": os.environ.get("BENCH_OKTA_TOKEN", ""),
        "webhook-id": name,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": f"v1,{signature}",
    }
    answer = _pool.request("POST", "/api/flo/celery/invoke", body=body, headers=headers, redirect=False, retries=False)
    shown = {"status": answer.status, "headers": dict(answer.headers), "body": answer.data.decode()}
    line = {"started_at": at, "finished_at": time.time(), "request": body.decode(), "response": shown}
    _log.rpush(ATTEMPTS, json.dumps(line))
