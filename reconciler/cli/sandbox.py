"""`reconciler sandbox`: the local Okta Workflows stand-in as a process of its own."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from reconciler.cli import view
from reconciler.errors import EXIT_FAILED, EXIT_OK, OptionError, Problem
from reconciler.sandbox.flow import DEFAULT_HOST, RATE_PER_SECOND, Flow, parse_flow, parse_host
from reconciler.sandbox.oauth import (
    DEFAULT_ORG,
    DEFAULT_SCOPE,
    LIFE_SECONDS,
    OAuthClient,
    parse_client,
    parse_secret,
)
from reconciler.sandbox.okta import OktaSandbox, SandboxSettings
from reconciler.sandbox.script import FORMAT, Line, read_script
from reconciler.settings import parse_listen

DEFAULT_LISTEN: Final = "127.0.0.1:9443"
EPILOG: Final = f"\b\nThe script:\n{FORMAT}".replace("\n\n", "\n\n\b\n")


@click.command(epilog=EPILOG)
@click.option("--listen", default=DEFAULT_LISTEN, show_default=True, metavar="ADDRESS:PORT", help="Port 0: any free.")
@click.option("--ca-out", metavar="FILE", type=click.Path(dir_okay=False), help="Write the authority's PEM for --ca.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help=f"A name to serve. Repeatable.  [default: {DEFAULT_HOST}, with OAuth also {DEFAULT_ORG}]",
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
@click.option(
    "--oauth-client",
    "oauth_clients",
    multiple=True,
    metavar="ID=FILE",
    help="A client of the token endpoint /oauth2/v1/token, with its public key: PEM, JWK or JWKS. Repeatable.",
)
@click.option(
    "--oauth-secret",
    "oauth_secrets",
    multiple=True,
    metavar="ID=SECRET",
    help="A client with a client secret. Repeatable.",
)
@click.option(
    "--oauth-scope",
    "oauth_scopes",
    multiple=True,
    metavar="SCOPE",
    help=f"What clients are granted. Repeatable.  [default: {DEFAULT_SCOPE}]",
)
@click.option("--oauth-dpop", multiple=True, metavar="ID", help="A client that requires DPoP, as new ones do at Okta.")
@click.option(
    "--oauth-flow",
    "oauth_flows",
    multiple=True,
    metavar="ALIAS",
    help="An API endpoint that is secured with OAuth 2.0. Repeatable.",
)
@click.option(
    "--oauth-lifetime",
    type=click.IntRange(0, 86_400),
    default=LIFE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long access tokens hold.",
)
@click.option("--script", metavar="FILE.jsonl", type=click.Path(dir_okay=False), help="Scripted answers, see below.")
@click.option("--record", metavar="FILE.jsonl", type=click.Path(dir_okay=False), help="Append every request.")
def sandbox(**options: Any) -> int:
    """Run a local server that behaves like Okta Workflows.

    Reach it under production's URLs with `--connect-to acme.workflows.okta.com:443:ADDRESS:PORT --ca FILE` on `run` and
    `test`. It ends on SIGTERM or SIGINT.
    """
    flows = tuple(parse_flow(text) for text in options["flows"])
    flows += tuple(replace(parse_flow(text), is_oauth=True) for text in options["oauth_flows"])
    clients = _oauth_clients(options)
    lines, problems = _script(options["script"], flows)
    if problems:
        view.say_problems(problems)
        return EXIT_FAILED
    address, port = parse_listen(options["listen"])
    settings = SandboxSettings(
        address=address,
        port=port,
        hosts=tuple(parse_host(text) for text in options["hosts"] or _default_hosts(clients)),
        flows=flows,
        rate=parse_rate(options["rate"]),
        script=lines,
        record=_path(options["record"]),
        ca_out=_path(options["ca_out"]),
        keep_requests=False,
        oauth_clients=clients,
        oauth_life_seconds=options["oauth_lifetime"],
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


def _default_hosts(clients: Sequence[OAuthClient]) -> tuple[str, ...]:
    """Tokens come from the org's own name, not from that of its flows."""
    return (DEFAULT_HOST, DEFAULT_ORG) if clients else (DEFAULT_HOST,)


def _oauth_clients(options: Mapping[str, Any]) -> tuple[OAuthClient, ...]:
    scopes = tuple(options["oauth_scopes"]) or (DEFAULT_SCOPE,)
    by_key = [parse_client(text, needs_dpop=options["oauth_dpop"], scopes=scopes) for text in options["oauth_clients"]]
    clients = (*by_key, *(parse_secret(text, scopes=scopes) for text in options["oauth_secrets"]))
    if len({client.id for client in clients}) < len(clients):
        raise OptionError("an OAuth client is given twice", hint="give every client an id of its own")
    if unknown := frozenset(options["oauth_dpop"]) - {client.id for client in by_key}:
        raise OptionError(f"`--oauth-dpop` names none of the `--oauth-client`: {min(unknown)}")
    return clients


def _script(file: str | None, flows: tuple[Flow, ...]) -> tuple[tuple[Line, ...], tuple[Problem, ...]]:
    if file is None:
        return (), ()
    return read_script(Path(file).read_bytes(), file=file, flows=[flow.alias for flow in flows])


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
