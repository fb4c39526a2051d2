"""Options that several commands share, each with its environment variable. Imported by `--help`: keep it light."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from reconciler.cli.network_option import given_hosts, given_proxy, given_ranges, given_targets, network_options
from reconciler.settings import DEFAULT_LISTEN, DEFAULT_STORE, EgressSettings, TransportKind

if TYPE_CHECKING:
    from reconciler.manifest.cache import Cache

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_PATHS: Final = ("manifests/",)


def store_option(command: Command) -> Command:
    """`--store URL`, before or after the command; read it with `store_url`."""
    return click.option(
        "--store",
        metavar="URL",
        envvar="RECONCILER_STORE",
        show_envvar=True,
        help=f"Where the live state is: sqlite:///PATH, or https://DAEMON.  [default: {DEFAULT_STORE}]",
    )(command)


def store_url(ctx: click.Context) -> str:
    """The store of the command line: the option after the command, before it, the variable, the default."""
    contexts = []
    current: click.Context | None = ctx
    while current is not None:
        contexts.append(current)
        current = current.parent
    # the variable is every command's, so what is said before the command must be looked for first
    contexts.sort(key=lambda one: one.get_parameter_source("store") is not ParameterSource.COMMANDLINE)
    return next((str(one.params["store"]) for one in contexts if one.params.get("store")), DEFAULT_STORE)


def paths_argument(command: Command) -> Command:
    """`[PATH…]`: manifest files and folders; together they are the owner's whole desired set."""
    return click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path())(command)


def chosen_paths(paths: tuple[str, ...]) -> tuple[Path, ...]:
    """The given paths, else `manifests/`."""
    return tuple(Path(path) for path in paths or DEFAULT_PATHS)


def manifest_cache() -> "Cache | None":
    """Where verdicts on manifests are remembered: the user's cache folder (XDG Base Directory Specification), if there
    is one. Nothing is made or looked at yet."""
    from reconciler.manifest.cache import Cache

    folder = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if not folder.is_absolute():  # the specification has relative ones ignored
        home = os.path.expanduser("~")  # noqa: PTH111  # Path.home() raises where there is none
        folder = Path(home) / ".cache"
    return Cache(folder / "reconciler") if folder.is_absolute() else None


def format_option(*formats: str) -> Callable[[Command], Command]:
    """`--format`, the first being the default; `text` and `json` where none are named."""
    choices = formats or ("text", "json")
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(choices),
        default=choices[0],
        show_default=True,
        help="How to print the result.",
    )


def var_options(command: Command) -> Command:
    """`--var NAME=VALUE` and `--var-file FILE`; read them with `manifest.load.read_variables`."""
    command = click.option(
        "--var-file", "var_files", multiple=True, type=click.Path(dir_okay=False), help="YAML mapping of variables."
    )(command)
    return click.option(
        "--var", "variables", multiple=True, metavar="NAME=VALUE", help="Set a variable for ${var:NAME}."
    )(command)


def secrets_option(command: Command) -> Command:
    """`--secrets FILE`: the operator's binding file."""
    return click.option(
        "--secrets",
        "secrets_file",
        metavar="FILE",
        envvar="RECONCILER_SECRETS",
        show_envvar=True,
        type=click.Path(dir_okay=False),
        help="The binding file: where each ${secret:NAME} comes from and which hosts may receive it.",
    )(command)


def egress_options(command: Command) -> Command:
    """`--secrets`, `--ca` and those of `network_option`: the operator's say over outgoing connections."""
    return secrets_option(ca_option(network_options(command)))


def warrant_options(command: Command) -> Command:
    """`--reason TEXT` and `--as WHO`: what the audit log tells of an act, beside the act and who is known to do it."""
    command = who_option(command)
    return click.option("--reason", metavar="TEXT", default="", help="Why: kept in the audit log.")(command)


def who_option(command: Command) -> Command:
    """`--as WHO`: whom the history, the audit log and whoever is held up by an act are told of."""
    return click.option(
        "--as", "given_by", metavar="WHO", help="Who does it.  [default: the pipeline's actor, or user@host]"
    )(command)


def transport_option(command: Command) -> Command:
    """`--transport fast|httpx`: what sends the deliveries."""
    return click.option(
        "--transport",
        type=click.Choice([kind.value for kind in TransportKind]),
        default=TransportKind.FAST.value,
        show_default=True,
        envvar="RECONCILER_TRANSPORT",
        show_envvar=True,
        help="What sends deliveries: ours, or httpx's own stack; docs/transport.md tells the differences.",
    )(command)


def listen_option(text: str) -> Callable[[Command], Command]:
    """`--listen ADDRESS:PORT`: where a daemon is; `text` says what for."""
    return click.option(
        "--listen",
        metavar="ADDRESS:PORT",
        default=DEFAULT_LISTEN,
        show_default=True,
        envvar="RECONCILER_LISTEN",
        show_envvar=True,
        help=text,
    )


def tls_cert_option(text: str) -> Callable[[Command], Command]:
    """`--tls-cert FILE`: the certificate that a daemon serves with; `text` says what for."""
    return click.option(
        "--tls-cert",
        metavar="FILE",
        envvar="RECONCILER_TLS_CERT",
        show_envvar=True,
        type=click.Path(dir_okay=False),
        help=text,
    )


def ca_option(command: Command) -> Command:
    """`--ca FILE`: authorities beside the system's, for receivers and for daemons."""
    return click.option(
        "--ca",
        "ca_file",
        metavar="FILE",
        envvar="RECONCILER_CA",
        show_envvar=True,
        type=click.Path(dir_okay=False),
        help="PEM file of authorities trusted beside the system's.",
    )(command)


def egress_settings(options: Mapping[str, Any]) -> EgressSettings:
    """The value of `egress_options`, and of `transport_option` where a command has it.

    Of what may be given several times, the variable holds several separated by spaces.
    """
    return EgressSettings(
        secrets_file=Path(options["secrets_file"]) if options["secrets_file"] else None,
        ca_file=Path(options["ca_file"]) if options["ca_file"] else None,
        connect_to=given_targets(options),
        transport=TransportKind(options.get("transport") or TransportKind.FAST),
        allow_ranges=given_ranges(options),
        only_hosts=given_hosts(options),
        proxy=given_proxy(options),
    )
