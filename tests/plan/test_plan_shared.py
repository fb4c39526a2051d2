"""A long plan is shown by several processes, and reads as by one, whatever becomes of the others."""

import os
from collections.abc import Callable

import pytest
from plan_samples import NOTHING, desired, hook, live_hook, live_state

from reconciler.cli import view, view_plan
from reconciler.cli.view_line import Line
from reconciler.cli.view_plan import out_plan, plan_lines
from reconciler.plan.plan import Plan, make_plan


@pytest.fixture
def long_plan() -> Plan:
    """Creations, changes, deletions and what stays; one name is longer, one body has what UTF-8 cannot say."""
    kept = [hook(f"hook-{number:03}") for number in range(10)]
    live = live_state(*(live_hook(webhook) for webhook in kept), live_hook(hook("gone")))
    new = [hook(f"new-{number:03}", {"title": "ä€𝄞" * number}, body_template="a\n\nb") for number in range(40)]
    wanted = desired(*new, *kept[1:], hook("hook-000", status="inactive"), hook("x" * 63, query={"a": "\ud800"}))
    return make_plan(wanted, live, unfinished={})


@pytest.fixture(params=[1, 2, 3, 200])
def processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """As if there were so many processors, and every change worth a process."""
    monkeypatch.setattr(view_plan, "processors", lambda: request.param)
    monkeypatch.setattr(view_plan, "SHARE_MIN_CHANGES", 1)
    return int(request.param)


@pytest.mark.parametrize("colour", ["NO_COLOR", "FORCE_COLOR"])
def test_any_number_of_processes_shows_the_same(
    long_plan: Plan, processes: int, colour: str, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(colour, "1")
    lines = list(plan_lines(long_plan))

    out_plan(long_plan)

    shown = "\n".join(line.plain if colour == "NO_COLOR" else line.styled for line in lines) + "\n"
    assert capfd.readouterr() == (shown, "")
    assert no_children()


@pytest.mark.parametrize("deed", [lambda: 1 / 0, lambda: os._exit(7), lambda: os.kill(os.getpid(), 9)])
def test_what_a_process_fails_to_show_is_shown_here(
    long_plan: Plan, deed: Callable[[], object], capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(view_plan, "processors", lambda: 3)
    monkeypatch.setattr(view_plan, "SHARE_MIN_CHANGES", 1)
    here, whole = os.getpid(), view_plan.change_lines
    shown = "\n".join(line.plain for line in plan_lines(long_plan)) + "\n"

    def failing(*args: object) -> list[Line]:
        if os.getpid() != here and "new-039" in str(args[0]):
            deed()
        return whole(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(view_plan, "change_lines", failing)
    out_plan(long_plan)

    assert capfd.readouterr() == (shown, "")
    assert no_children()


def test_an_interruption_leaves_no_process_behind(long_plan: Plan) -> None:
    def interrupted() -> list[Line]:
        raise KeyboardInterrupt

    open_files = len(os.listdir("/proc/self/fd"))

    with pytest.raises(KeyboardInterrupt):
        view.say_lines_shared([interrupted, lambda: plan_lines(long_plan)])

    assert no_children()
    assert len(os.listdir("/proc/self/fd")) == open_files


def test_a_short_plan_is_shown_by_one_process(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    def no_fork() -> int:
        raise AssertionError("a process for a short plan")

    monkeypatch.setattr(os, "fork", no_fork)

    out_plan(make_plan(desired(hook("one"), hook("two")), NOTHING, unfinished={}))

    assert "Plan: 2 to add" in capfd.readouterr().out


def no_children() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return True
