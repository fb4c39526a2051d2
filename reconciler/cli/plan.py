"""`plan`, `apply` and `show`: what would change, and changing it.

Exit codes are the contract of pipelines: 0 done, 2 changes (only under --detailed-exitcode), 3 refused, 4 stale. The
plan is always shown before it is refused. Planning opens the store as it is; it makes none and locks nothing.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from reconciler import VERSION
from reconciler.apply import Provenance, apply_plan, new_id, read_live, read_plan, write_plan
from reconciler.cli import view
from reconciler.cli.option import (
    chosen_paths,
    format_option,
    paths_argument,
    secrets_option,
    store_option,
    store_url,
    var_options,
)
from reconciler.cli.view_plan import applied_text, out_plan, summary_text
from reconciler.errors import (
    EXIT_CHANGES,
    EXIT_FAILED,
    EXIT_OK,
    EXIT_REFUSED,
    Problem,
    ReconcilerError,
    Severity,
    StalePlanError,
)
from reconciler.models.revision import Revision
from reconciler.plan.change import Allowances
from reconciler.plan.guard import guarded
from reconciler.plan.plan import Desired, Plan, Scope, make_plan
from reconciler.plan.saved import SavedPlan
from reconciler.plan.schema import plan_json

Command = TypeVar("Command", bound=Callable[..., Any])

PROMPT: Final = """
Do you want to perform these actions?
  reconciler will perform the actions described above.
  Only 'yes' will be accepted to approve.

  Enter a value: """

# What a saved plan has settled already; with --plan, saying it again would be a contradiction or no effect
SETTLED: Final = {
    "paths": "PATH",
    "variables": "--var",
    "var_files": "--var-file",
    "targets": "--target",
    "allow_deletes": "--allow-deletes",
    "allow_empty": "--allow-empty",
}


def planning_options(command: Command) -> Command:
    """What `plan` and `apply` need to make a plan."""
    for option in (
        click.option(
            "--target", "targets", metavar="GLOB", multiple=True, help="Only webhooks of these names. Repeatable."
        ),
        click.option("--allow-empty", is_flag=True, help="Accept manifests that declare no webhook at all."),
        click.option(
            "--allow-deletes",
            metavar="N",
            type=click.IntRange(min=0),
            help="Accept a plan beyond the limit that deletes exactly N webhooks.",
        ),
        click.option("--commit", metavar="SHA", help="The manifests' commit.  [default: git's, or the pipeline's]"),
    ):
        command = option(command)
    return store_option(var_options(secrets_option(command)))


@click.command()
@planning_options
@format_option()
@click.option("--out", "out_file", type=click.Path(dir_okay=False), metavar="FILE", help="Save the plan for apply.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if there are changes.")
@paths_argument
@click.pass_context
def plan(
    ctx: click.Context, /, output_format: str, out_file: str | None, detailed_exitcode: bool, **options: Any
) -> int:
    """Show what apply would change; change nothing.

    The PATHs (default manifests/) together are the whole of what their owner wants: a live webhook of this owner that
    they do not declare is planned to be destroyed.
    """
    made = asyncio.run(_plan(store_url(ctx), options))
    if out_file is not None:
        write_plan(Path(out_file), _saved(made, options))
    _show(made, output_format)
    if made.refusals:
        return _refused(made)
    if out_file is not None and made.has_changes:
        file = view.visible(out_file)
        view.say(f"\nSaved the plan. To perform exactly these actions: reconciler apply --plan {file}")
    return EXIT_CHANGES if detailed_exitcode and made.has_changes else EXIT_OK


@click.command()
@planning_options
@format_option()
@click.option("--plan", "plan_file", type=click.Path(dir_okay=False), metavar="FILE", help="Apply this saved plan.")
@click.option("--auto-approve", is_flag=True, help="Do not ask for a typed yes.")
@click.option("--as", "applied_by", metavar="WHO", help="Who applies.  [default: the pipeline's actor, or user@host]")
@paths_argument
@click.pass_context
def apply(ctx: click.Context, /, output_format: str, plan_file: str | None, auto_approve: bool, **options: Any) -> int:
    """Bring the store to what the manifests say: everything or nothing, in one transaction.

    Shows the plan and asks for a typed yes. A saved plan is its own approval: it is applied without a question, once,
    and only while the store is still what the plan was made from.
    """
    if plan_file is not None:
        settled = [
            word for name, word in SETTLED.items() if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        ]
        if settled:
            raise click.UsageError(f"--plan applies a saved plan as it is; it takes no {settled[0]}.", ctx)
        return asyncio.run(_apply_saved(store_url(ctx), Path(plan_file), output_format, options))
    if not auto_approve and not sys.stdin.isatty():
        raise ReconcilerError(
            "there is no terminal to ask for approval; nothing was done",
            hint="pass `--auto-approve`, or review a saved plan and apply it with `--plan FILE`",
        )
    return asyncio.run(_apply(store_url(ctx), auto_approve, output_format, options))


@click.command()
@format_option()
@click.option("--plan", "plan_file", type=click.Path(dir_okay=False), metavar="FILE", required=True, help="The file.")
def show(output_format: str, plan_file: str) -> None:
    """Show a saved plan as `plan` showed it."""
    saved = read_plan(Path(plan_file))
    _show(saved.plan, output_format)
    for refusal in saved.plan.refusals:
        view.say_error(f"refused: {refusal.message}", hint=refusal.hint)


async def _plan(url: str, options: Mapping[str, Any]) -> Plan:
    from reconciler.store.open import open_store

    desired = _desired(options)
    async with AsyncExitStack() as stack:
        store = open_store(url, create=False)
        live, unfinished = await read_live(await stack.enter_async_context(store) if store is not None else None)
    targets = options["targets"]
    made = make_plan(desired, live, unfinished=unfinished, scope=Scope(targets=targets))
    if targets and not made.changes:
        raise ReconcilerError(
            f"no webhook has such a name: {', '.join(targets)}", hint="`--target` takes globs over names"
        )
    view.say_problems(made.warnings)
    return guarded(made, Allowances(deletes=options["allow_deletes"], empty=options["allow_empty"]))


def _desired(options: Mapping[str, Any]) -> Desired:
    """The manifests, valid, their warnings said."""
    from reconciler.manifest.load import load_manifests, read_variables

    variables = read_variables(options["variables"], tuple(Path(name) for name in options["var_files"]))
    manifests = load_manifests(chosen_paths(options["paths"]), variables=variables)
    manifests.require_valid()
    view.say_problems(manifests.problems)
    desired = Desired(manifests.webhooks, manifests.project, manifests.digest)
    if options["secrets_file"]:
        view.say_problems(_unbound(desired, Path(options["secrets_file"])))
    return desired


def _unbound(desired: Desired, secrets_file: Path) -> list[Problem]:
    """A warning for each webhook whose deliveries would wait for a secret."""
    from reconciler.egress.secrets import SecretResolver

    resolver = SecretResolver.load(secrets_file)
    found = ((webhook, resolver.unresolved(webhook)) for webhook in desired.webhooks)
    hint = "its deliveries stay pending until the binding file allows it"
    return [
        Problem(Severity.WARNING, "secret_unbound", fact, path=webhook.address, hint=hint)
        for webhook, fact in found
        if fact is not None
    ]


async def _apply(url: str, auto_approve: bool, output_format: str, options: Mapping[str, Any]) -> int:
    made = await _plan(url, options)
    _show_before(made, output_format)
    if made.refusals:
        return _refused(made)
    if not made.has_changes:
        return _applied(made, None, output_format)
    if not auto_approve:
        if output_format == "json" or not sys.stdout.isatty():
            out_plan(made, err=True)  # nobody approves what they cannot see
        if not await _is_approved():
            view.say("\nApply cancelled; nothing was changed.")
            return EXIT_FAILED
    revision = await _publish(url, made, plan_id=new_id(), commit=_commit(options), who=options["applied_by"])
    return _applied(made, revision, output_format)


async def _apply_saved(url: str, file: Path, output_format: str, options: Mapping[str, Any]) -> int:
    saved = read_plan(file)
    made = saved.plan
    if made.refusals:
        _show(made, output_format)
        return _refused(made)
    if output_format == "text":
        view.out(summary_text(made))  # it was reviewed when it was made; `show --plan` shows it again
    commit = options["commit"] or saved.commit
    revision = await _publish(url, made, plan_id=saved.plan_id, commit=commit, who=options["applied_by"])
    return _applied(made, revision, output_format)


async def _publish(url: str, made: Plan, *, plan_id: str, commit: str | None, who: str | None) -> Revision | None:
    from reconciler.cli.provenance import applied_by
    from reconciler.store.open import open_store

    store = open_store(url, create=made.has_changes and not made.lineage)
    if store is None:
        if not made.lineage:
            return None  # nothing to do where nothing is
        raise StalePlanError(
            f"the store that the plan was made from is not there: {url}",
            base_revision=made.base_revision,
            live_revision=0,
            hint="`--store` or RECONCILER_STORE names another",
        )
    by = Provenance(applied_by(who), time.time_ns() // 1_000_000, commit)
    async with store:
        return await apply_plan(store, made, plan_id=plan_id, by=by)


async def _is_approved() -> bool:
    """Whether the terminal says `yes`. Waits in the event loop, so that Ctrl-C interrupts."""
    click.echo(PROMPT, nl=False, err=True)
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline().strip() == "yes"


def _show(made: Plan, output_format: str) -> None:
    if output_format == "json":
        view.out_json(plan_json(made))
    else:
        out_plan(made)


def _show_before(made: Plan, output_format: str) -> None:
    """What apply shows first: as JSON there is one document, at the end, unless this is the end."""
    if output_format == "text" or made.refusals:
        _show(made, output_format)


def _refused(made: Plan) -> int:
    sys.stdout.flush()  # the plan stands above what refuses it
    for refusal in made.refusals:
        view.say_error(f"refused: {refusal.message}", hint=refusal.hint)
    return EXIT_REFUSED


def _applied(made: Plan, revision: Revision | None, output_format: str) -> int:
    if output_format == "json":
        view.out_json({**plan_json(made), "revision": revision.number if revision else None})
    elif revision is not None:
        view.out(f"\n{click.style(applied_text(revision, made.summary), fg='green', bold=True)}")
    return EXIT_OK


def _saved(made: Plan, options: Mapping[str, Any]) -> SavedPlan:
    return SavedPlan(made, new_id(), time.time_ns() // 1_000_000, VERSION, _commit(options))


def _commit(options: Mapping[str, Any]) -> str | None:
    from reconciler.cli.provenance import commit_of

    return commit_of(chosen_paths(options["paths"]), options["commit"])
