"""`run`: the dispatcher daemon."""

import asyncio
import gc
import signal
import sys
from pathlib import Path
from typing import Any, Final

import click

from reconciler.cli import view
from reconciler.cli.limit_option import intake_rate, keep_ms, limit_options, room_limits
from reconciler.cli.option import (
    egress_options,
    egress_settings,
    listen_option,
    store_option,
    store_url,
    tls_cert_option,
    transport_option,
)
from reconciler.errors import EXIT_INTERRUPTED, EXIT_OK
from reconciler.settings import parse_listen

COLLECT_AFTER: Final = 20_000  # new objects of a daemon before garbage is looked for; Python's own 700 costs some 3 %


@click.command()
@store_option
@egress_options
@transport_option
@listen_option("Where events, the API and the page are served; port 0 lets the system choose.")
@click.option(
    "--tokens",
    "tokens_file",
    metavar="FILE",
    envvar="RECONCILER_TOKENS",
    show_envvar=True,
    type=click.Path(dir_okay=False),
    help="Who may ask: YAML, NAME: {token or sha256, roles: [read, apply, operate, ingest]}; read again on change.",
)
@tls_cert_option("Serve https:// with this PEM certificate, its chain below it.")
@click.option(
    "--tls-key",
    metavar="FILE",
    envvar="RECONCILER_TLS_KEY",
    show_envvar=True,
    type=click.Path(dir_okay=False),
    help="The certificate's private key, PEM, without a password.",
)
@click.option("--events", metavar="FILE|-", help="Take events from a JSONL file or standard input as well.")
@click.option(
    "--exit-when-idle", is_flag=True, help="End once the events are read and nothing is left that can be delivered."
)
@limit_options
@click.option(
    "--log-format",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    envvar="RECONCILER_LOG_FORMAT",
    help="How to log on stderr, one line per fact.",
)
@click.pass_context
def run(
    ctx: click.Context, /, listen: str, events: str | None, exit_when_idle: bool, log_format: str, **options: Any
) -> int:
    """Run the dispatcher: take events in, deliver them with the applied configuration.

    Prints `ready: http://ADDRESS:PORT` on stderr once events are taken. A newly applied revision is live within a
    second. SIGTERM drains: intake stops, what is in flight gets 20 seconds, the rest is given back; a second signal
    cuts that short. A store that is away (a full disk) is waited for, for five minutes; then, as when any part of it
    fails, the daemon says so and ends with exit code 1.

    What is older than --retention is deleted in the background, a little at a time. Events are turned away with 429
    and Retry-After, before they are read, while --max-pending or --min-free say so; a file of --events waits.

    Without --tokens it listens on loopback only, for whoever is on this machine. With --tokens every request wants a
    bearer token with the right role, by which people log in to the page; beyond loopback --tls-cert and --tls-key are
    needed too.
    """
    from reconciler.daemon import DaemonSettings
    from reconciler.observe import log

    host, port = parse_listen(listen)
    settings = DaemonSettings(
        host,
        port,
        egress_settings(options),
        events,
        exit_when_idle,
        tokens_file=Path(options["tokens_file"]) if options["tokens_file"] else None,
        tls=_tls(ctx, options["tls_cert"], options["tls_key"]),
        keep_ms=keep_ms(options),
        room=room_limits(options),
        intake_rate=intake_rate(options),
    )
    log.configure("json" if log_format == "json" else "text", sys.stderr, gathers=True)
    log.capture_libraries()
    try:
        stopped_by = _loop_runner()(_run(settings, store_url(ctx)))
    finally:
        log.flush()
    return EXIT_INTERRUPTED if stopped_by is signal.SIGINT else EXIT_OK


def _tls(ctx: click.Context, certificate: str | None, private_key: str | None) -> tuple[Path, Path] | None:
    if certificate and private_key:
        return Path(certificate), Path(private_key)
    if certificate or private_key:
        raise click.UsageError("--tls-cert and --tls-key go together.", ctx)
    return None


async def _run(settings: Any, url: str) -> signal.Signals | None:
    from reconciler.daemon import Daemon, open_daemon_store

    async with open_daemon_store(url) as store:
        daemon = Daemon(settings, store=store)
        await daemon.run(on_ready=_on_ready)
        return daemon.stopped_by


def _on_ready(base: str) -> None:
    """Nothing loaded so far is looked at by the garbage collector again, and it comes less often: what a delivery
    leaves behind is freed without it."""
    from reconciler.observe import log

    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    log.flush()  # so that the log's lines stand in their order
    view.say(f"ready: {base}")


def _loop_runner() -> Any:
    """uvloop's runner where it is installed (a fifth less CPU), else asyncio's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run
