"""`apply --verify`: which webhooks of a plan are tested, and how the tests are told.

Called by `apply` between the approval and the transaction; sends through `dispatch.verify` and opens no store.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from reconciler.cli import view
from reconciler.cli.option import egress_settings
from reconciler.cli.view_webhook import out_report
from reconciler.dispatch.verify import Verification, verify
from reconciler.egress.deliver import Deliverer
from reconciler.egress.secrets import SecretResolver
from reconciler.models.webhook import Webhook
from reconciler.plan.change import Action, Change
from reconciler.plan.plan import Plan


async def verify_plan(made: Plan, options: Mapping[str, Any]) -> tuple[Verification, ...]:
    """Send each webhook that the plan changes a test event. Raises ManifestError for a broken binding file."""
    webhooks = tested(made.changes)
    if not webhooks:
        return ()
    view.say(f"\nVerifying {_counted(len(webhooks))} by a test event before anything is applied ...")
    settings = egress_settings(options)
    resolver = SecretResolver.load(settings.secrets_file)
    beside = (change.after for change in made.changes if change.after is not None and change.after.is_active)
    async with Deliverer(settings, masker=resolver.masker) as deliverer:
        return await verify(webhooks, beside, deliverer=deliverer, resolver=resolver, clock=time.time)


def tested(changes: Sequence[Change]) -> list[Webhook]:
    """The webhooks that will send otherwise than before: created, or edited in more than their name, and active."""
    return [
        change.after
        for change in changes
        if change.after is not None and change.after.is_active and (change.action is Action.CREATE or change.is_edit)
    ]


def out_verification(verification: Sequence[Verification]) -> None:
    """A line for each success, then the whole report of each failure."""
    view.out("")
    for item in verification:
        if item.report.is_successful:
            view.out(f"{click.style('Test successful', fg='green', bold=True)}  {item.report.webhook}")
    for item in verification:
        if not item.report.is_successful:
            out_report(item.report)
            view.out("")


def say_unverified(made: Plan, verification: Sequence[Verification]) -> None:
    """Why nothing is applied."""
    failed = sum(not item.report.is_successful for item in verification)
    are = "is" if failed == 1 else "are"
    message = f"{failed} of {_counted(len(tested(made.changes)))} {are} not verified; nothing was applied"
    hint = "mend what the report says, or apply without `--verify`; `reconciler test NAME PATH` tests one alone"
    view.say_error(message, hint=hint)


def _counted(number: int) -> str:
    return f"{number} webhook" if number == 1 else f"{number} webhooks"
