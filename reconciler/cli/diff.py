"""`diff`: two revisions of a store, or one and what is live or what manifests say, webhook by webhook.

Reads only. Whoever owns a webhook counts as well as what it says; against manifests, only their owner's webhooks are
compared.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import click

from reconciler.cli import view
from reconciler.cli.option import format_option, paths_argument, store_option, store_url, var_options
from reconciler.cli.owner import owner_option
from reconciler.cli.plan_option import check_view, view_options
from reconciler.cli.planning import desired_of, plan_view
from reconciler.cli.state import reading
from reconciler.cli.view_history import differences_text, history_lines
from reconciler.models.revision import LiveState, LiveWebhook
from reconciler.models.webhook import Policy
from reconciler.plan.compare import changes_between, planned_webhooks
from reconciler.plan.document import FORMAT_VERSION
from reconciler.plan.plan import Desired, make_plan
from reconciler.plan.schema import change_json
from reconciler.store.base import CommandStore

LIVE: Final = "live"
MANIFESTS: Final = "manifests"
NUMBER_MAX_DIGITS: Final = 18  # within 64 bits


@dataclass(frozen=True, slots=True)
class Side:
    """What is compared, and what it is in words; `revision` None: manifests of that digest."""

    text: str
    webhooks: tuple[LiveWebhook, ...]
    policies: Mapping[str, Policy]
    revision: int | None
    manifest_digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """In the document of `diff --format json`."""
        return {"manifest_digest": self.manifest_digest} if self.revision is None else {"revision": self.revision}


@click.command()
@store_option
@owner_option
@var_options
@view_options
@format_option()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@paths_argument
@click.pass_context
def diff(ctx: click.Context, /, a: str, b: str, owner: str | None, output_format: str, **options: Any) -> None:
    """Show what became of each webhook from A to B.

    A and B are revisions, as `history` numbers them, or `live`; one of them may be `manifests`, those of the PATHs.
    """
    check_view(output_format, options)
    for name in (a, b):
        _check_name(ctx, name)
    if MANIFESTS not in (a, b) and options["paths"]:
        raise click.UsageError("A PATH goes with `manifests`.", ctx)
    if a == b == MANIFESTS:
        raise click.UsageError("One of A and B must be a revision or `live`.", ctx)
    before, after, lineage = asyncio.run(_sides(store_url(ctx), a, b, options))
    before, after = _of_owner(before, owner), _of_owner(after, owner)
    changes = changes_between(before.webhooks, after.webhooks)
    policies = _policy_changes(before, after)
    if output_format == "json":
        view.out_json(
            {
                "format_version": FORMAT_VERSION,
                "lineage": lineage,
                "from": before.to_json(),
                "to": after.to_json(),
                "resource_changes": [change_json(change) for change in changes],
                "policy_changes": [
                    {"owner": name, "before": old.model_dump(mode="json"), "after": new.model_dump(mode="json")}
                    for name, (old, new) in policies.items()
                ],
            }
        )
        return
    for line in history_lines(changes, policies, plan_view(options)):
        view.out(line.styled)
    view.out(differences_text(changes, policies, f"{before.text} and {after.text}"))


async def _sides(url: str, a: str, b: str, options: Mapping[str, Any]) -> tuple[Side, Side, str]:
    desired = desired_of(options) if MANIFESTS in (a, b) else None
    async with reading(url) as store:
        states = {name: await _state(store, name) for name in (a, b) if name != MANIFESTS}
    sides = {name: _stored(name, state) for name, state in states.items()}
    lineage = next(iter(states.values())).lineage
    if desired is not None:
        ((name, state),) = states.items()
        sides[name], sides[MANIFESTS] = _against(desired, state, sides[name])
    return sides[a], sides[b], lineage


async def _state(store: CommandStore, name: str) -> LiveState:
    return await store.live_state(None if name == LIVE else int(name))


def _check_name(ctx: click.Context, name: str) -> None:
    is_number = name.isascii() and name.isdigit() and len(name) <= NUMBER_MAX_DIGITS
    if not is_number and name not in (LIVE, MANIFESTS):
        raise click.UsageError(f"{name!r} is neither a revision's number nor `live` or `manifests`.", ctx)


def _stored(name: str, state: LiveState) -> Side:
    text = f"what is live (revision {state.revision})" if name == LIVE else f"revision {state.revision}"
    return Side(text, state.webhooks, state.policies, state.revision)


def _against(desired: Desired, state: LiveState, side: Side) -> tuple[Side, Side]:
    """The state's side and the manifests': of the state only what the owner has, or the manifests declare."""
    owner = desired.project.spec.owner
    planned = planned_webhooks(make_plan(desired, state, unfinished={}).changes, owner)
    uids = {item.uid for item in planned}
    held = tuple(item for item in state.webhooks if item.owner == owner or item.uid in uids)
    policies = {owner: state.policies.get(owner, Policy())}
    declared = Side("the manifests", planned, {owner: desired.project.spec.policy}, None, desired.digest)
    return replace(side, webhooks=held, policies=policies), declared


def _of_owner(side: Side, owner: str | None) -> Side:
    if owner is None:
        return side
    webhooks = tuple(item for item in side.webhooks if item.owner == owner)
    policies = {name: policy for name, policy in side.policies.items() if name == owner}
    return replace(side, webhooks=webhooks, policies=policies)


def _policy_changes(before: Side, after: Side) -> dict[str, tuple[Policy, Policy]]:
    pairs = {
        owner: (before.policies.get(owner, Policy()), after.policies.get(owner, Policy()))
        for owner in sorted(before.policies.keys() | after.policies.keys())
    }
    return {owner: pair for owner, pair in pairs.items() if pair[0] != pair[1]}
