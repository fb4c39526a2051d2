"""Options on where requests may go and by which way, the operator's alone. Imported by `--help`: keep it light."""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Any, TypeVar

import click

from reconciler.settings import ConnectTo, Proxy, parse_connect_to, parse_only_host, parse_proxy

Command = TypeVar("Command", bound=Callable[..., Any])

NAMES = ("connect_to", "allow_range", "only_host", "proxy")


def network_options(command: Command) -> Command:
    """`--connect-to`, `--allow-range`, `--only-host` and `--proxy`; read them with the functions below."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option(
        "--connect-to",
        multiple=True,
        metavar="HOST:PORT:ADDRESS:PORT",
        envvar="RECONCILER_CONNECT_TO",
        show_envvar=True,
        help="Dial ADDRESS:PORT for HOST:PORT, as curl does; TLS still checks HOST. Repeatable.",
    ),
    click.option(
        "--allow-range",
        multiple=True,
        metavar="RANGE",
        envvar="RECONCILER_ALLOW_RANGE",
        show_envvar=True,
        help="Let names resolve into this range, like 10.1.0.0/16, which is refused otherwise; a cloud's metadata "
        "address only by itself. Repeatable.",
    ),
    click.option(
        "--only-host",
        multiple=True,
        metavar="HOST",
        envvar="RECONCILER_ONLY_HOST",
        show_envvar=True,
        help="Reach this host or *.DOMAIN, and none that no --only-host names, whatever manifests say. Repeatable.",
    ),
    click.option(
        "--proxy",
        metavar="URL",
        envvar="RECONCILER_PROXY",
        show_envvar=True,
        help="Reach receivers through this HTTP proxy, http://HOST:PORT; it resolves their names and has to judge "
        "their addresses.",
    ),
)


def given_targets(options: Mapping[str, Any]) -> tuple[ConnectTo, ...]:
    """The values of `--connect-to`. Raises OptionError."""
    return tuple(parse_connect_to(item) for item in _items(options, "connect_to"))


def given_ranges(options: Mapping[str, Any]) -> tuple[IPv4Network | IPv6Network, ...]:
    """The values of `--allow-range`. Raises OptionError."""
    from reconciler.address import read_range
    from reconciler.errors import OptionError

    hint = "name the range that your receivers are in, such as 10.1.0.0/16 or fd12:3456::/48"
    ranges = []
    for item in _items(options, "allow_range"):
        try:
            ranges.append(read_range(item))
        except ValueError as exc:
            raise OptionError(f"`--allow-range` cannot be used: {exc}", hint=hint) from None
    return tuple(ranges)


def given_hosts(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The values of `--only-host`. Raises OptionError."""
    return tuple(parse_only_host(item) for item in _items(options, "only_host"))


def given_proxy(options: Mapping[str, Any]) -> Proxy | None:
    """The value of `--proxy`. Raises OptionError."""
    return parse_proxy(options["proxy"]) if options.get("proxy") else None


def _items(options: Mapping[str, Any], name: str) -> list[str]:
    """Several in the variable are separated by spaces."""
    return [item for value in options.get(name) or () for item in value.split()]
