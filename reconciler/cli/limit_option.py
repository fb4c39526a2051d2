"""Options of `run` on what a daemon keeps and how much it takes in, each with its environment variable."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from reconciler.cli.moment import read_duration

if TYPE_CHECKING:
    from reconciler.dispatch.room import RoomLimits

Command = TypeVar("Command", bound=Callable[..., Any])

OFF: Final = "off"
DEFAULT_RETENTION: Final = "30d"
DEFAULT_INTAKE_RATE: Final = 1000
_SIZE: Final = re.compile(r"(\d{1,12})([KMGT]?)")
_UNITS: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def limit_options(command: Command) -> Command:
    """`--retention`, `--max-pending`, `--intake-rate` and `--min-free`; read them with `keep_ms`, `room_limits` and
    `intake_rate`."""
    command = click.option(
        "--min-free",
        metavar="SIZE|off",
        type=_read_size,
        envvar="RECONCILER_MIN_FREE",
        show_envvar=True,
        help="Take no more events while the store's disk has less free, like 500M or 2G; what is taken needs room for "
        "its attempts.  [default: 256M, on a small disk 5 % of it]",
    )(command)
    command = click.option(
        "--intake-rate",
        metavar="NUMBER|off",
        type=_read_number,
        envvar="RECONCILER_INTAKE_RATE",
        show_envvar=True,
        help="Take so many requests a second from one sender, a token or else an address; more get 429 and "
        f"Retry-After.  [default: {DEFAULT_INTAKE_RATE} with --tokens, else off]",
    )(command)
    command = click.option(
        "--max-pending",
        metavar="NUMBER|off",
        type=_read_number,
        default="10000000",
        show_default=True,
        envvar="RECONCILER_MAX_PENDING",
        show_envvar=True,
        help="Take no more events while so many deliveries are unfinished; senders get 429 and Retry-After.",
    )(command)
    return click.option(
        "--retention",
        metavar="TIME|off",
        type=_read_retention,
        default=DEFAULT_RETENTION,
        show_default=True,
        envvar="RECONCILER_RETENTION",
        show_envvar=True,
        help="How long events are kept and known, with their finished deliveries and attempts, like 12h or 90d; what "
        "is pending is kept in any case.",
    )(command)


def keep_ms(options: Mapping[str, Any]) -> int | None:
    """The value of `--retention` in milliseconds; None: for ever."""
    return None if options["retention"] == OFF else int(options["retention"])


def intake_rate(options: Mapping[str, Any]) -> float | None:
    """The value of `--intake-rate` in requests a second; None: no limit."""
    given = options["intake_rate"]
    if given is None:
        return DEFAULT_INTAKE_RATE if options["tokens_file"] else None
    return None if given == OFF else float(given)


def room_limits(options: Mapping[str, Any]) -> "RoomLimits":
    """The values of `--max-pending` and `--min-free`."""
    from reconciler.dispatch.room import RoomLimits

    pending, free = options["max_pending"], options["min_free"]
    return RoomLimits(
        max_unfinished=None if pending == OFF else pending,
        min_free_bytes=0 if free == OFF else free,
    )


def _read_retention(text: str) -> int | str:
    if text == OFF:
        return OFF
    found = read_duration(text)
    if not found:
        raise click.BadParameter(f"{text} is neither a time like 90m, 12h or 30d nor `{OFF}`")
    return found


def _read_number(text: str) -> int | str:
    if text == OFF:
        return OFF
    if not (text.isascii() and text.isdigit() and int(text[:19]) > 0):
        raise click.BadParameter(f"{text} is neither a number from 1 nor `{OFF}`")
    return int(text[:19])


def _read_size(text: str) -> int | str:
    if text == OFF:
        return OFF
    found = _SIZE.fullmatch(text.upper())
    if found is None:
        raise click.BadParameter(f"{text} is neither a size like 500M or 2G nor `{OFF}`")
    return int(found[1]) * _UNITS[found[2]]
