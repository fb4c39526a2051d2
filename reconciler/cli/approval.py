"""The typed yes: asked before something is changed that is not a saved plan. Used by commands that change things."""

import sys

import click

from reconciler.cli import view
from reconciler.errors import ReconcilerError


def require_terminal(*, hint: str = "pass `--auto-approve`") -> None:
    """Raise ReconcilerError where nobody can be asked. Called before anything is done."""
    if not sys.stdin.isatty():
        raise ReconcilerError("there is no terminal to ask for approval; nothing was done", hint=hint)


async def says_yes(prompt: str, *, refusal: str) -> bool:
    """Whether the terminal says `yes`; if not, `refusal` is said. Waits in the event loop: Ctrl-C interrupts."""
    import asyncio  # a command that asks nobody may have no loop

    click.echo(prompt, nl=False, err=True)
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    if sys.stdin.readline().strip() == "yes":
        return True
    view.say(f"\n{refusal}")
    return False


def question(deed: str) -> str:
    """The prompt, in the words of apply's."""
    return f"\nDo you want to {deed}?\n  Only 'yes' will be accepted to approve.\n\n  Enter a value: "
