"""A receiver, a token endpoint and a proxy that repeat all they are sent, in every place that an answer has.

On loopback, in a thread; certificates by trustme. The path says how it behaves: /echo/STATUS/…, /redirect, /raw, /cut,
/long, /drop, /reset, /token/ok/…, /token/refuse/…
"""

import asyncio
import base64
import html
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import trustme
from canary_secret import token

CERTIFIED = ("hooks.example.com", "idp.example.com", "mtls.example.com")
KEPT = 16 * 1024  # of a body, as the record keeps it


class CanaryReceiver:
    """Its ports, and what came."""

    def __init__(self, ca: trustme.CA) -> None:
        self._ca = ca
        self._loop = asyncio.new_event_loop()
        self.port = self.proxy_port = 0
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.tokens: list[str] = []  # access tokens given
        self.shown_certificates = 0
        self.remembers = False  # and repeats what earlier requests were known by

    @contextmanager
    def running(self) -> Iterator["CanaryReceiver"]:
        """Serve until the end of the block."""
        self._loop.run_until_complete(self._start())
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.run_until_complete(self._stop())
            self._loop.close()

    async def _stop(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for server in self._servers:
            server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _start(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*CERTIFIED).configure_cert(context)
        self._ca.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0, ssl=context)
        proxy = await asyncio.start_server(self._refuse, "127.0.0.1", 0)
        self._servers = (server, proxy)
        self.port, self.proxy_port = (item.sockets[0].getsockname()[1] for item in (server, proxy))

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        said = head.partition("Proxy-Authorization: ")[2].split("\r\n")[0]
        writer.write(f"HTTP/1.1 407 {said} is wrong\r\nx-echo: {said}\r\n\r\n{head}".encode("latin-1"))
        await writer.drain()
        writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether another may follow."""
        line, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (item.split(": ", 1) for item in rest)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append((line, headers, body))
        self.shown_certificates += writer.get_extra_info("peercert") is not None
        for piece in self._answer(line, headers, body):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        mode = line.split()[1].split("/")[1]
        if mode == "drop":
            await reader.read()  # until the other side has had enough
        if mode == "reset":
            writer.transport.abort()
        return mode in ("echo", "token", "redirect", "long")

    def _answer(self, line: str, headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        path = line.split()[1]
        seen = "\n".join(
            [line, *(f"{name}: {value}" for name, value in headers.items()), body.decode("utf-8", "replace")]
        )
        known_by = headers.get("authorization") or headers.get("x-api-key") or path
        mode, _, rest = path.removeprefix("/").partition("/")
        if mode == "drop":
            return
        if mode == "raw":
            yield from _split(f"{known_by} is what you sent\r\n{seen}\r\n\r\n", 7)
            return
        if mode == "reset":
            yield _head(200, known_by, {"content-length": "100000"}) + known_by[: len(known_by) // 2].encode("latin-1")
            return
        if mode == "cut":
            head = _head(500, known_by, {"content-length": "100000"}).decode("latin-1")
            yield from _split(f"{head}you sent {known_by[:30]}", 100)
            return
        if mode == "token":
            yield self._token(rest, seen, known_by, body)
            return
        status = int(rest[:3]) if mode == "echo" else 302 if mode == "redirect" else 500
        earlier = (
            {item[1]["x-api-key"] for item in self.requests if "x-api-key" in item[1]} if self.remembers else set()
        )
        told = json.dumps({"earlier": sorted(earlier), **_echoes(seen, known_by)})
        if mode == "long":
            told = "." * (KEPT - len(known_by) // 2 - 9) + f"you sent {known_by} {told}"
        more = (
            {"location": f"https://elsewhere.example.com{path}#{quote(seen[:2000], safe='')}"} if status == 302 else {}
        )
        raw = told.encode()
        if mode == "long":
            yield _head(status, known_by, {"transfer-encoding": "chunked"})
            for at in range(0, len(raw), 999):
                yield b"%x\r\n%s\r\n" % (len(raw[at : at + 999]), raw[at : at + 999])
            yield b"0\r\n\r\n"
            return
        yield _head(status, known_by, {**more, "content-length": str(len(raw))}) + raw

    def _token(self, rest: str, seen: str, known_by: str, body: bytes) -> bytes:
        if rest.startswith("ok"):
            given = token(f"access {len(self.tokens)}")
            self.tokens.append(given)
            answer = {"access_token": given, "token_type": "Bearer", "expires_in": 3600, "scope": f"{known_by} {seen}"}
            status = 200
        else:
            said = f"{'x' * 120} you sent {known_by} {seen}"
            answer, status = (
                {"error": "invalid_client", "error_description": said, "echo": _echoes(seen, known_by)},
                401,
            )
        raw = json.dumps(answer).encode()
        return _head(status, known_by, {"content-length": str(len(raw)), "content-type": "application/json"}) + raw


def _echoes(seen: str, known_by: str) -> dict[str, object]:
    raw = seen.encode()
    return {
        "status": seen,
        "known by": known_by,
        "in json": json.dumps({"request": seen}),
        "url": quote(seen, safe=""),
        "twice": quote(quote(known_by, safe=""), safe=""),
        "html": html.escape(seen),
        "decimal": "".join(f"&#{ord(char)};" for char in known_by),
        "base64": base64.b64encode(raw).decode(),
        "wrapped": base64.encodebytes(json.dumps(seen).encode()).decode(),
        "for urls": base64.urlsafe_b64encode(b"x" + raw).decode().rstrip("="),
        "hex": raw.hex(),
    }


def _head(status: int, known_by: str, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {known_by}"]
    echoed = {
        "x-echo": known_by,
        "x-echo-url": quote(known_by, safe=""),
        "x-echo-base64": base64.b64encode(known_by.encode("latin-1")).decode(),
        "set-cookie": f"known={quote(known_by)}; path=/",
    }
    lines += [f"{name}: {value}" for name, value in {**echoed, **headers}.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _split(text: str, size: int) -> Iterator[bytes]:
    for at in range(0, len(text), size):
        yield text[at : at + size].encode("latin-1", "replace")
