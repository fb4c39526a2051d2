"""The plan that a command's options ask for, and the form that it is shown in.

Called by the commands that make or show a plan. Planning opens the store as it is; it makes none and locks nothing.
"""

import shutil
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.apply import read_live
from reconciler.cli import view
from reconciler.cli.early import Early
from reconciler.cli.option import chosen_paths, manifest_cache
from reconciler.cli.state import open_state
from reconciler.cli.view_field import CONCISE, FULL, NORMAL, PlanView
from reconciler.cli.view_plan import out_plan
from reconciler.errors import Problem, ReconcilerError, Severity
from reconciler.history import known_drift, owners_hold, read_drift, read_hold
from reconciler.manifest.ahead import Ahead
from reconciler.manifest.load import Loading, read_variables
from reconciler.models.revision import Hold
from reconciler.models.webhook import Webhook
from reconciler.plan.change import Allowances, Refusal
from reconciler.plan.drift import Drift, of_targets
from reconciler.plan.guard import guarded
from reconciler.plan.plan import Desired, Plan, Scope, make_plan

if TYPE_CHECKING:
    from reconciler.store.base import CommandStore


def plan_view(options: Mapping[str, Any], *, err: bool = False) -> PlanView:
    """What `view_options` say, with the width of the terminal if there is one."""
    how = CONCISE if options["concise"] else FULL if options["full"] else NORMAL
    if options["context"] is not None:
        how = replace(how, context=options["context"])
    is_terminal = (sys.stderr if err else sys.stdout).isatty()
    return replace(how, width=shutil.get_terminal_size().columns if is_terminal else None)


def show_plan(plan: Plan, output_format: str, options: Mapping[str, Any]) -> None:
    """The plan on stdout, in the form that was asked for."""
    if output_format == "json":
        from reconciler.plan.schema import plan_json

        view.out_json(plan_json(plan))
    elif output_format == "markdown":
        from reconciler.cli.view_markdown import DEFAULT_MAX_BYTES, plan_markdown

        max_bytes = options["max_bytes"] or DEFAULT_MAX_BYTES
        how = replace(plan_view(options), width=None)
        view.out(plan_markdown(plan, how, marker=options["marker"], max_bytes=max_bytes).removesuffix("\n"))
    else:
        out_plan(plan, plan_view(options))


async def plan_of(url: str, options: Mapping[str, Any], early: Early, *, is_apply: bool = False) -> Plan:
    """The plan of the manifests that are being read against the store, judged, with what drifted; its warnings are
    said. A hold is one of them, but refuses an apply."""
    held, drift = None, None
    async with AsyncExitStack() as stack:
        loading = stack.enter_context(_begin(options, early.manifests))
        try:
            known, store = early.live.snapshot(), None
            if known is not None:
                live, unfinished = known.state, known.unfinished
            else:
                store = await _opened(stack, url)
                live, unfinished = await read_live(store)  # while others judge the manifests
        except (ReconcilerError, OSError):
            _finish(loading, options)  # what is wrong with them is said first
            raise
        desired = _finish(loading, options)
        if known is not None:
            drift = known_drift(desired, live, known.revisions, is_whole=known.is_whole)
            held = owners_hold(known.holds, desired.project.spec.owner)
            store = await _opened(stack, url) if drift is None else None
        elif store is not None:
            held = await read_hold(store, desired.project.spec.owner)
        if store is not None:
            drift = await read_drift(store, desired, live)
    scope = Scope(targets=options["targets"], adopts=options["adopt"], keeps=options["keep"])
    made = make_plan(desired, live, unfinished=unfinished, scope=scope)
    if scope.targets and not made.changes:
        raise ReconcilerError(
            f"no webhook has such a name: {', '.join(scope.targets)}", hint="`--target` takes globs over names"
        )
    drift = drift and of_targets(drift, scope.targets)
    made = told_of(made, drift, held, is_apply=is_apply)
    view.say_problems(made.warnings)
    return guarded(made, Allowances(deletes=options["allow_deletes"], empty=options["allow_empty"]))


async def _opened(stack: AsyncExitStack, url: str) -> "CommandStore | None":
    """The store of a URL, if it is there, until the stack is left."""
    opened = open_state(url, create=False)
    return await stack.enter_async_context(opened) if opened is not None else None


def told_of(made: Plan, drift: Drift | None, held: Hold | None, *, is_apply: bool) -> Plan:
    """The plan with what stands beside it: the drift, and what a hold means for it."""
    if drift:
        made = replace(made, drift=drift)
    if held is not None and is_apply:
        made = replace(made, refusals=(*made.refusals, Refusal("on_hold", held.fact, held.way_out)))
    elif held is not None:
        warning = Problem(Severity.WARNING, "on_hold", held.fact, hint=held.way_out)
        made = replace(made, warnings=(*made.warnings, warning))
    return made


def desired_of(options: Mapping[str, Any]) -> Desired:
    """The manifests, valid, their warnings said."""
    with Ahead.begin(chosen_paths(options["paths"])) as ahead, _begin(options, ahead) as loading:
        return _finish(loading, options)


def _begin(options: Mapping[str, Any], ahead: Ahead) -> Loading:
    variables = read_variables(options["variables"], tuple(Path(name) for name in options["var_files"]))
    return Loading.begin(ahead, variables=variables, cache=manifest_cache())


def _finish(loading: Loading, options: Mapping[str, Any]) -> Desired:
    manifests = loading.finish()
    manifests.require_valid()
    view.say_problems(manifests.problems)
    if options.get("secrets_file"):
        view.say_problems(_unbound(manifests.webhooks, Path(options["secrets_file"])))
    return Desired(manifests.webhooks, manifests.project, manifests.digest)


def _unbound(webhooks: tuple[Webhook, ...], secrets_file: Path) -> list[Problem]:
    """A warning for each webhook whose deliveries would wait for a secret."""
    from reconciler.egress.secrets import SecretResolver

    resolver = SecretResolver.load(secrets_file)
    found = ((webhook, resolver.unresolved(webhook)) for webhook in webhooks)
    hint = "its deliveries stay pending until the binding file allows it"
    return [
        Problem(Severity.WARNING, "secret_unbound", fact, path=webhook.address, hint=hint)
        for webhook, fact in found
        if fact is not None
    ]
