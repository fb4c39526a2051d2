"""`reconciler sandbox`: the local Okta Workflows stand-in as a process of its own."""

import asyncio
import signal
from pathlib import Path
from typing import Any, Final

import click

from reconciler.cli import view
from reconciler.errors import EXIT_FAILED, EXIT_OK, OptionError, Problem
from reconciler.sandbox.flow import DEFAULT_HOST, RATE_PER_SECOND, Flow, parse_flow, parse_host
from reconciler.sandbox.okta import OktaSandbox, SandboxSettings
from reconciler.sandbox.script import FORMAT, Line, read_script
from reconciler.settings import parse_listen

DEFAULT_LISTEN: Final = "127.0.0.1:9443"
EPILOG: Final = f"\b\nThe script:\n{FORMAT}".replace("\n\n", "\n\n\b\n")


@click.command(epilog=EPILOG)
@click.option("--listen", default=DEFAULT_LISTEN, show_default=True, metavar="ADDRESS:PORT", help="Port 0: any free.")
@click.option("--ca-out", metavar="FILE", type=click.Path(dir_okay=False), help="Write the authority's PEM for --ca.")
@click.option(
    "--host", "hosts", multiple=True, metavar="NAME", help=f"A name to serve. Repeatable.  [default: {DEFAULT_HOST}]"
)
@click.option(
    "--flow",
    "flows",
    multiple=True,
    metavar="ALIAS[=TOKEN]",
    help="An API endpoint, with its client token. Repeatable. Without any, every 32-hex alias is public.",
)
@click.option(
    "--rate", default=str(RATE_PER_SECOND), show_default=True, metavar="N|off", help="Invocations a second and flow."
)
@click.option("--script", metavar="FILE.jsonl", type=click.Path(dir_okay=False), help="Scripted answers, see below.")
@click.option("--record", metavar="FILE.jsonl", type=click.Path(dir_okay=False), help="Append every request.")
def sandbox(**options: Any) -> int:
    """Run a local server that behaves like Okta Workflows.

    Reach it under production's URLs with `--connect-to acme.workflows.okta.com:443:ADDRESS:PORT --ca FILE` on `run` and
    `test`. It ends on SIGTERM or SIGINT.
    """
    flows = tuple(parse_flow(text) for text in options["flows"])
    lines, problems = _script(options["script"], flows)
    if problems:
        view.say_problems(problems)
        return EXIT_FAILED
    address, port = parse_listen(options["listen"])
    settings = SandboxSettings(
        address=address,
        port=port,
        hosts=tuple(parse_host(text) for text in options["hosts"] or (DEFAULT_HOST,)),
        flows=flows,
        rate=parse_rate(options["rate"]),
        script=lines,
        record=_path(options["record"]),
        ca_out=_path(options["ca_out"]),
        keep_requests=False,
    )
    asyncio.run(serve(settings))
    return EXIT_OK


async def serve(settings: SandboxSettings) -> None:
    """Say that it listens, and serve until SIGTERM or SIGINT, or until the record cannot be written."""
    async with OktaSandbox(settings) as server:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        view.say(f"ready: {server.url}")
        await server.stopped


def parse_rate(text: str) -> int | None:
    """`off` is None. Raises OptionError."""
    if text == "off":
        return None
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise OptionError(f"`--rate` cannot be read: {text}", hint="write a whole number from 1, or off")
    return int(text)


def _script(file: str | None, flows: tuple[Flow, ...]) -> tuple[tuple[Line, ...], tuple[Problem, ...]]:
    if file is None:
        return (), ()
    return read_script(Path(file).read_bytes(), file=file, flows=[flow.alias for flow in flows])


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
