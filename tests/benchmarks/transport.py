"""Requests per second of our transport beside stock httpx and wrk: `python tests/benchmarks/transport.py`.

Not run by pytest. One process posts the same 1 KB body over TLS, 64 at a time, to a sink on loopback: nginx where it
is installed, else a small one of our own, which then is what is measured too. Rounds are interleaved and the median
counts, with CPU seconds per 1,000 requests, which a busy machine changes less. `wrk -t1 -c64` posts the same body to
the same sink where it is installed. Exits 1 if our transport reaches less than TARGET of wrk.

Every client runs in a process of its own, so that none pays for another's garbage; `--rounds N`, `--seconds S` and
`--loop asyncio` change what is measured.
"""

import argparse
import asyncio
import contextlib
import json
import re
import resource
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httptools
import httpx
import trustme

from reconciler.egress.client import DeliveryClient
from reconciler.egress.deliver import Deliverer
from reconciler.egress.mask import Masker
from reconciler.egress.transport import make_transport
from reconciler.request.render import Prepared
from reconciler.settings import ConnectTo, EgressSettings, TransportKind

TARGET: Final = 0.25  # of wrk's rate
CONCURRENCY: Final = 64
HOST: Final = "hooks.example.com"
BODY: Final = json.dumps({"fields": {"event type": "RequestCreated", "justification": "x" * 960}}).encode()
HEADERS: Final = (
    ("content-type", "application/json"),
    ("x-api-client-token", "0123456789abcdef" * 4),
    ("webhook-id", "msg_0123456789abcdef"),
)
Post = Callable[[], Awaitable[int | None]]

CLIENTS: Final = {
    "transport": "our client and transport alone",
    "deliverer": "the same with its record of the attempt, as the worker calls it",
    "deliverer-httpx": "`--transport httpx`, with its record of the attempt",
    "httpx": "httpx.AsyncClient as it comes",
}
NGINX: Final = """
daemon off; master_process on; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 4096; }}
http {{
  {settings}
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl backlog=1024; server_name {host};
    ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
    {locations}
    location / {{ return 200 "ok"; }}
  }}
}}
"""
LUA: Final = """
wrk.method = "POST"
wrk.body = io.open("{folder}/body.json"):read("*a")
wrk.headers["Host"] = "{host}"
{headers}
"""


class Sink(asyncio.Protocol):
    """Answers each request with 200, where there is no nginx."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok")


@dataclass(frozen=True, slots=True)
class Scene:
    """What is posted where, and what nginx is told beside it: settings of all, and locations that answer otherwise."""

    host: str = HOST
    body: bytes = BODY
    headers: tuple[tuple[str, str], ...] = HEADERS
    settings: str = ""
    locations: str = ""


def prepare(folder: Path, scene: Scene = Scene()) -> int:
    """Certificates, the body and wrk's script; a free port."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate = authority.issue_cert(*sorted({scene.host, HOST}))
    certificate.private_key_pem.write_to_path(str(folder / "server.key"))
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(str(folder / "server.pem"), append=True)
    (folder / "body.json").write_bytes(scene.body)
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in scene.headers)
    (folder / "post.lua").write_text(LUA.format(folder=folder, host=scene.host, headers=headers))
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    told = {"settings": scene.settings, "locations": scene.locations}
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, host=scene.host, **told))
    return port


@contextlib.contextmanager
def sink(folder: Path, port: int) -> Iterator[str]:
    """A TLS sink on the port while the block runs; what it is."""
    nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    command = (
        [nginx, "-c", str(folder / "nginx.conf"), "-p", str(folder)]
        if nginx
        else [sys.executable, __file__, "--sink", str(folder), "--port", str(port)]
    )
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port, process)
            yield "nginx" if nginx else "the bundled sink"
        finally:
            process.send_signal(signal.SIGTERM)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise SystemExit("the sink does not start")


async def serve_sink(folder: Path, port: int) -> None:
    """The bundled sink, until it is killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port, ssl=context, backlog=1024)
    await server.serve_forever()


async def measure(client: str, folder: Path, port: int, seconds: float) -> dict[str, float]:
    """Requests per second and CPU seconds per 1,000 of one client."""
    settings = EgressSettings(ca_file=folder / "ca.pem", connect_to=(ConnectTo(HOST, 443, "127.0.0.1", port),))
    async with contextlib.AsyncExitStack() as stack:
        post = await _poster(client, settings, port, stack)
        await _loop(post, time.monotonic() + 0.5)  # connections made, code warm
        cpu, began = time.process_time(), time.monotonic()
        done = await _loop(post, began + seconds)
        took, cpu = time.monotonic() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rate": done / took, "cpu": cpu / done * 1000, "rss": peak}


async def _poster(client: str, settings: EgressSettings, port: int, stack: contextlib.AsyncExitStack) -> Post:
    """What sends one request and tells its status."""
    match client:
        case "transport":
            return await _transport_poster(settings, stack)
        case "httpx":
            return await _httpx_poster(settings, port, stack)
        case _:
            return await _deliverer_poster(client, settings, stack)


async def _transport_poster(settings: EgressSettings, stack: contextlib.AsyncExitStack) -> Post:
    """With the URL parsed and the headers in bytes, as the deliverer has them."""
    client = await stack.enter_async_context(DeliveryClient(make_transport(settings)))
    url = httpx.URL(f"https://{HOST}/hook")
    pairs = (("host", HOST), *HEADERS, ("content-length", str(len(BODY))))
    headers = [(name.encode(), value.encode()) for name, value in pairs]

    async def post() -> int | None:
        request = httpx.Request("POST", url, headers=headers, stream=httpx.ByteStream(BODY))
        response = await client.send(request, stream=True)
        await response.aclose()
        return response.status_code

    return post


async def _deliverer_poster(client: str, settings: EgressSettings, stack: contextlib.AsyncExitStack) -> Post:
    kind = TransportKind.HTTPX if client == "deliverer-httpx" else TransportKind.FAST
    chosen = replace(settings, transport=kind)
    deliverer = await stack.enter_async_context(Deliverer(chosen, masker=Masker()))
    prepared = Prepared("POST", f"https://{HOST}/hook", HEADERS, BODY)

    async def post() -> int | None:
        return (await deliverer.send(prepared, prepared, timeout_seconds=15)).status

    return post


async def _httpx_poster(settings: EgressSettings, port: int, stack: contextlib.AsyncExitStack) -> Post:
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    context = ssl.create_default_context(cafile=str(settings.ca_file))
    client = await stack.enter_async_context(httpx.AsyncClient(verify=context, limits=limits, trust_env=False))
    url = httpx.URL(f"https://127.0.0.1:{port}/hook")
    headers = (("host", HOST), *HEADERS)

    async def post() -> int | None:
        response = await client.post(url, headers=headers, content=BODY, extensions={"sni_hostname": HOST})
        return response.status_code

    return post


async def _loop(post: Post, until: float) -> int:
    async def work() -> int:
        done = 0
        while time.monotonic() < until:
            status = await post()
            if status != 200:
                raise SystemExit(f"not delivered: {status}")
            done += 1
        return done

    return sum(await asyncio.gather(*(work() for _ in range(CONCURRENCY))))


def measure_wrk(folder: Path, port: int, seconds: float) -> dict[str, float]:
    """The same for wrk; empty where it is not installed."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return {}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [wrk, "-t1", f"-c{CONCURRENCY}", f"-d{max(1, round(seconds))}s", "-s", str(folder / "post.lua")]
    text = subprocess.run(
        [*command, f"https://127.0.0.1:{port}/hook"], capture_output=True, text=True, check=True
    ).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if "Non-2xx" in text:
        raise SystemExit(f"wrk was refused: {text}")
    rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", text)[0])
    done = int(re.findall(r"(\d+) requests in", text)[0])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rate": rate, "cpu": cpu / done * 1000}


def measure_apart(client: str, args: argparse.Namespace, folder: Path, port: int) -> dict[str, float]:
    """One client in a process of its own."""
    command = [sys.executable, __file__, "--client", client, "--folder", str(folder), "--port", str(port)]
    command += ["--seconds", str(args.seconds), "--loop", args.loop]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def run_in(loop: str, main: Any) -> Any:
    """By uvloop where it is wanted and installed, else by asyncio."""
    with contextlib.suppress(ImportError):
        if loop == "uvloop":
            import uvloop

            return uvloop.run(main)
    return asyncio.run(main)


def compare(args: argparse.Namespace) -> int:
    """Run all, print the table; the exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's workers are another user
        port = prepare(folder)
        results: dict[str, list[dict[str, float]]] = {client: [] for client in (*CLIENTS, "wrk")}
        with sink(folder, port) as kind:
            say(f"{kind}, {args.loop}, {CONCURRENCY} at a time, {len(BODY)} bytes, median of {args.rounds} rounds")
            for _ in range(args.rounds):
                results["wrk"].append(measure_wrk(folder, port, args.seconds))
                for client in CLIENTS:
                    results[client].append(measure_apart(client, args, folder, port))
    return report(results)


def say(line: str) -> None:
    """On standard output."""
    sys.stdout.write(f"{line}\n")


def report(results: dict[str, list[dict[str, float]]]) -> int:
    """The table, with shares of wrk taken round by round."""
    wrk = [found.get("rate", 0.0) for found in results["wrk"]]
    say(f"{'client':16} {'requests/s':>11} {'CPU s/1,000':>12} {'of wrk':>8} {'MB':>5}")
    for client, rounds in results.items():
        if not all(rounds):
            continue
        rate = statistics.median(item["rate"] for item in rounds)
        cpu = statistics.median(item["cpu"] for item in rounds)
        share = statistics.median(item["rate"] / one for item, one in zip(rounds, wrk, strict=True)) if all(wrk) else 0
        say(f"{client:16} {rate:11,.0f} {cpu:12.4f} {share:8.1%} {rounds[0].get('rss', 0):5.0f}")
        if client == "transport":
            reached = share
    for client, what in CLIENTS.items():
        say(f"  {client}: {what}")
    if not all(wrk):
        say("wrk is not installed: nothing to compare with")
        return 0
    return 0 if reached >= TARGET else 1


def main() -> int:
    """The comparison, or one part of it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--client", choices=tuple(CLIENTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sink", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.sink:
        run_in(args.loop, serve_sink(args.sink, args.port))
    elif args.client:
        say(json.dumps(run_in(args.loop, measure(args.client, args.folder, args.port, args.seconds))))
    else:
        return compare(args)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
