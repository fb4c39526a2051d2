"""What `run` is told of retention and room, and what it refuses."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from reconciler.cli.limit_option import intake_rate, keep_ms, limit_options, room_limits
from reconciler.dispatch.room import RoomLimits

DAY_MS = 86_400_000


def parsed(*args: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    @click.command()
    @limit_options
    @click.option("--tokens", "tokens_file")
    def command(**options: Any) -> None:
        found.update(keep=keep_ms(options), room=room_limits(options), rate=intake_rate(options))

    done = CliRunner().invoke(command, args)
    return found or {"refused": done.output}


def test_by_default_events_are_kept_for_thirty_days_and_room_is_ample() -> None:
    assert parsed() == {"keep": 30 * DAY_MS, "room": RoomLimits(), "rate": None}


def test_senders_have_a_rate_where_strangers_may_ask() -> None:
    assert parsed("--tokens", "file")["rate"] == 1000
    assert parsed("--tokens", "file", "--intake-rate", "off")["rate"] is None
    assert parsed("--intake-rate", "7")["rate"] == 7


@pytest.mark.parametrize(("text", "keep"), [("12h", DAY_MS // 2), ("90d", 90 * DAY_MS), ("off", None)])
def test_a_retention_is_a_time_or_off(text: str, keep: int | None) -> None:
    assert parsed("--retention", text)["keep"] == keep


def test_sizes_and_numbers_are_read_with_their_units() -> None:
    assert parsed("--max-pending", "500", "--min-free", "2G")["room"] == RoomLimits(500, 2 * 1024**3)
    assert parsed("--max-pending", "off", "--min-free", "off")["room"] == RoomLimits(None, 0)


@pytest.mark.parametrize(
    "args",
    [
        ("--retention", "0s"),
        ("--retention", "30"),
        ("--max-pending", "0"),
        ("--intake-rate", "x"),
        ("--min-free", "2X"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_can(args: tuple[str, str]) -> None:
    assert f"{args[1]} is neither" in parsed(*args)["refused"]
