"""Whose webhooks a command is about, where no manifest says it.

Called by `export` and `rollback`, which read no manifests. With one owner in the store it is that one; among several
nothing is guessed.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from reconciler.cli import view
from reconciler.errors import ReconcilerError
from reconciler.models.revision import NOBODY, LiveState
from reconciler.models.webhook import Policy

Command = TypeVar("Command", bound=Callable[..., Any])


def owner_option(command: Command) -> Command:
    """`--owner NAME`; read it with `the_owner`."""
    return click.option(
        "--owner", metavar="NAME", help="Whose webhooks; '' is the default owner.  [default: the only owner there is]"
    )(command)


def the_owner(given: str | None, *states: LiveState) -> str:
    """The owner that is named, else the only one of these states, the default one if there is none. Raises
    ReconcilerError where there are several."""
    if given is not None:
        return given
    owners = sorted({owner for state in states for owner in _owners(state)} - {NOBODY})
    if len(owners) > 1:
        raise ReconcilerError(
            f"the store has webhooks of {len(owners)} owners: {', '.join(map(_shown, owners))}",
            hint="choose one with `--owner NAME`" + (", the default owner with `--owner ''`" if "" in owners else ""),
        )
    return owners[0] if owners else ""


def _owners(state: LiveState) -> Iterable[str]:
    yield from (item.owner for item in state.webhooks)
    yield from (owner for owner, policy in state.policies.items() if policy != Policy())


def _shown(owner: str) -> str:
    return view.visible(owner) if owner else "the default owner"
