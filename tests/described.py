"""Whether answers are what `schemas/openapi.json` says: an ASGI layer around the application under test.

Stands in `served.running`, so that each answer that a test gets is judged: its status, its media type, its headers, and
its JSON against the schema with every object closed, so that nothing is answered that is not described.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.web.guard import with_ours
from reconciler.web.openapi.document import document

PREFIXES = ("/v1/", "/healthz", "/readyz")
JUDGED_MAX_BYTES = 256 * 1024  # a larger answer has more of the same
SHOWN_MAX = 300
FAULT = 500  # a test has made one: no endpoint promises it


class Described:
    """The application, with an account of what is under way, and of what it answered that is not described; of another
    than a daemon's there is none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._prefixes = PREFIXES if is_daemon(app) else ()
        self._under_way = 0
        self._is_quiet = asyncio.Event()
        self.faults: list[str] = []

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await self._is_quiet.wait()

    def begin(self) -> None:
        """One more is under way."""
        self._under_way += 1
        self._is_quiet.clear()

    def end(self) -> None:
        """One less."""
        self._under_way -= 1
        if not self._under_way:
            self._is_quiet.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begin()
        try:
            await self._answer(scope, receive, send)
        finally:
            self.end()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(self._prefixes):
            await self._app(scope, receive, send)
            return
        heads: list[Message] = []
        body = bytearray()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                heads.append(message)
            elif len(body) <= JUDGED_MAX_BYTES:
                body.extend(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self._judge(scope["method"], scope["path"], heads[0]["status"], heads[0]["headers"], bytes(body))
            await send(message)

        await self._app(scope, receive, noted)

    def _judge(
        self, method: str, path: str, status: int, raw_headers: Iterable[tuple[bytes, bytes]], body: bytes
    ) -> None:
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in raw_headers}
        found = faults(method, path, status, headers, body)
        self.faults += [f"{method} {path} {status}: {fault}" for fault in found]


def described(app: ASGIApp) -> Described:
    """The layer around an application, which keeps the short way past it where it has one, and judges its answers."""
    if isinstance(app, Described) or not hasattr(app, "offer"):
        return app if isinstance(app, Described) else Described(app)

    class Short(Described, type(app)):  # type: ignore[misc]  # what has a short way is known by its class
        def offer(self, head: dict[bytes, bytes], body: bytes, *, reply: Any, **facts: Any) -> bool:
            def noted(content: bytes | Response) -> None:
                whole = (
                    content if isinstance(content, Response) else Response(content, 202, media_type="application/json")
                )
                self._judge("POST", "/v1/events", whole.status_code, with_ours(whole.raw_headers), bytes(whole.body))
                reply(content)
                self.end()

            self.begin()
            is_taken: bool = app.offer(head, body, reply=noted, **facts)
            if not is_taken:
                self.end()
            return is_taken

    return Short(app)


def is_daemon(app: Any) -> bool:
    """Whether it is what `build_app` has built, whatever layers stand around it."""
    while app is not None and not hasattr(app, "routes"):
        app = getattr(app, "_app", None)
    return any(getattr(route, "path", "") == "/v1/openapi.json" for route in getattr(app, "routes", ()))


def faults(method: str, path: str, status: int, headers: dict[str, str], body: bytes) -> Iterator[str]:
    """What of an answer is not described."""
    operation = _operation("GET" if method == "HEAD" else method, path)
    answer = None if operation is None else closed()["paths"][operation[0]][operation[1]]["responses"].get(f"{status}")
    if answer is None and status >= 400 and (operation is None or status == FAULT):
        answer = closed()["components"]["responses"]["Refused400"]
    if answer is None:
        yield "the status is not described"
        return
    answer = _followed(answer)
    for name, header in answer["headers"].items():
        yield from _header_faults(name, _followed(header), headers.get(name.lower()))
    media_type = headers.get("content-type", "").partition(";")[0]
    content = answer.get("content", {})
    if media_type not in content and (media_type or content) and status != 400:
        yield f"the media type is not described: {media_type}"
    if media_type in content and method != "HEAD" and len(body) <= JUDGED_MAX_BYTES:
        for error in _validator(json.dumps(content[media_type]["schema"])).iter_errors(json.loads(body)):
            yield f"{error.json_path}: {error.message[:SHOWN_MAX]}"


def _header_faults(name: str, header: dict[str, Any], value: str | None) -> Iterator[str]:
    if value is None:
        if name not in ("Link", "WWW-Authenticate"):  # these stand where they say something
            yield f"without {name}"
        return
    read = int(value) if header["schema"].get("type") == "integer" and value.isdigit() else value
    for error in Draft202012Validator(header["schema"]).iter_errors(read):
        yield f"{name}: {error.message}"


@cache
def closed() -> dict[str, Any]:
    """The document, its objects without members that nobody has described."""
    return _closed(document())


def _closed(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _closed(item) for key, item in node.items()}
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


def _followed(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = closed()
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


@cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator({**json.loads(schema), "components": closed()["components"]})


@cache
def _templates() -> list[tuple[re.Pattern[str], str]]:
    """Paths as patterns, those without parameters first; an id may hold slashes, or nothing."""
    paths = sorted(closed()["paths"], key=lambda path: path.count("{"))
    parts = {"{id}": ".*", "{name}": "[^/]+", "{number}": "[^/]+"}
    patterns = [re.sub(r"\{\w+\}", lambda found: parts[found[0]], path) for path in paths]
    return [(re.compile(pattern, re.DOTALL), path) for pattern, path in zip(patterns, paths, strict=True)]


def _operation(method: str, path: str) -> tuple[str, str] | None:
    """The path and the method by which an endpoint is described."""
    for pattern, template in _templates():
        if pattern.fullmatch(path) and method.lower() in closed()["paths"][template]:
            return template, method.lower()
    return None
