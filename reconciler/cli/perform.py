"""What `plan` and `apply` do once their options are read: plan, show, ask, verify, publish, tell.

Called by `cli.plan`, whose options are read without any of this. The plan is always shown before it is refused.
"""

import asyncio
import errno
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from reconciler import VERSION
from reconciler.apply import Provenance, apply_plan, apply_rebased, new_id, read_plan, write_plan
from reconciler.cli import view
from reconciler.cli.approval import says_yes
from reconciler.cli.early import Early
from reconciler.cli.option import chosen_paths
from reconciler.cli.planning import plan_of, plan_view, show_plan
from reconciler.cli.view_plan import applied_text, out_plan, summary_text
from reconciler.errors import EXIT_CHANGES, EXIT_FAILED, EXIT_OK, EXIT_REFUSED, ReconcilerError, StalePlanError
from reconciler.models.revision import Revision
from reconciler.plan.plan import Plan

if TYPE_CHECKING:
    from reconciler.dispatch.verify import Verification
    from reconciler.plan.saved import SavedPlan

PROMPT: Final = """
Do you want to perform these actions?
  reconciler will perform the actions described above.
  Only 'yes' will be accepted to approve.

  Enter a value: """


def run_plan(url: str, early: Early, output_format: str, options: Mapping[str, Any]) -> int:
    """`plan`, of the manifests that are being read; returns the exit code."""
    made = asyncio.run(_measured_plan(url, early, options))
    out_file: str | None = options["out_file"]
    if out_file is not None:
        write_plan(Path(out_file), _saved(made, options))
    _write_json(made, options)
    show_plan(made, output_format, options)
    if made.refusals:
        return refused(made)
    if out_file is not None and made.has_changes:
        file = view.visible(out_file)
        view.say(f"\nSaved the plan. To perform exactly these actions: reconciler apply --plan {file}")
    return EXIT_CHANGES if options["detailed_exitcode"] and made.has_changes else EXIT_OK


def run_apply(url: str, early: Early, output_format: str, options: Mapping[str, Any]) -> int:
    """`apply`, of the manifests that are being read; returns the exit code."""
    _require_writable(options["json_file"])
    return asyncio.run(_apply(url, early, output_format, options))


def run_saved(url: str, file: Path, output_format: str, options: Mapping[str, Any]) -> int:
    """`apply --plan FILE`; returns the exit code."""
    _require_writable(options["json_file"])
    return asyncio.run(_apply_saved(url, file, output_format, options))


async def _measured_plan(url: str, early: Early, options: Mapping[str, Any]) -> Plan:
    made = await plan_of(url, options, early)
    if not options["has_impact"]:
        return made
    from reconciler.cli.impact import with_impact

    return await with_impact(made, url, options)


async def _apply(url: str, early: Early, output_format: str, options: Mapping[str, Any]) -> int:
    made = await plan_of(url, options, early, is_apply=True)
    if output_format == "text" or made.refusals:  # as JSON there is one document, at the end, unless this is the end
        show_plan(made, output_format, options)
    if made.refusals:
        _write_json(made, options)
        return refused(made)
    if not made.has_changes:
        return _applied(made, None, output_format, options)
    if not options["auto_approve"] and not await is_approved(made, output_format, options):
        return EXIT_FAILED
    verification = await _verify(url, made, output_format, options)
    if not _is_verified(verification):
        return _unverified(made, verification, output_format, options)
    by = _provenance(options, _commit(options))
    made, revision = await _publish(url, made, plan_id=new_id(), by=by)
    return _applied(made, revision, output_format, options, verification)


async def _apply_saved(url: str, file: Path, output_format: str, options: Mapping[str, Any]) -> int:
    saved = read_plan(file)
    made, revision = saved.plan, None
    verification: tuple[Verification, ...] = ()
    if not made.refusals:
        if output_format == "text":
            view.out(summary_text(made))  # it was reviewed when it was made; `show --plan` shows it again
        verification = await _verify(url, made, output_format, options)
        if not _is_verified(verification):
            return _unverified(made, verification, output_format, options)
        by = _provenance(options, options["commit"] or saved.commit)
        is_rebased = options["rebase_if_disjoint"]
        made, revision = await _publish(url, made, plan_id=saved.plan_id, by=by, is_rebased=is_rebased)
    if made.refusals:
        _write_json(made, options)
        show_plan(made, output_format, options)
        return refused(made)
    if made.base_revision != saved.plan.base_revision:
        view.say(f"rebased from revision {saved.plan.base_revision} to {made.base_revision}: nothing it touches moved")
    return _applied(made, revision, output_format, options, verification)


async def _verify(url: str, made: Plan, output_format: str, options: Mapping[str, Any]) -> "tuple[Verification, ...]":
    """`--verify`: the tests of what the plan changes, told as text. Without it there are none."""
    if not options["verifies"]:
        return ()
    from reconciler.cli.provenance import warrant
    from reconciler.cli.record import record_tests
    from reconciler.cli.verify import out_verification, verify_plan

    verification = await verify_plan(made, options)
    tests = [(item.webhook, item.report) for item in verification]
    await record_tests(url, tests, warrant(options["given_by"]), verifies=True)
    if output_format == "text" and verification:
        out_verification(verification)
    return verification


def _is_verified(verification: "tuple[Verification, ...]") -> bool:
    return all(item.report.is_successful for item in verification)


def _unverified(
    made: Plan, verification: "tuple[Verification, ...]", output_format: str, options: Mapping[str, Any]
) -> int:
    """Say that nothing is applied, below the tests; returns the exit code."""
    from reconciler.cli.verify import say_unverified

    _out_result(made, None, output_format, options, verification)
    sys.stdout.flush()
    say_unverified(made, verification)
    return EXIT_FAILED


async def _publish(
    url: str, made: Plan, *, plan_id: str, by: Provenance, is_rebased: bool = False
) -> tuple[Plan, Revision | None]:
    from reconciler.cli.state import open_state

    store = open_state(url, create=made.has_changes and not made.lineage)
    if store is None:
        if not made.lineage:
            return made, None  # nothing to do where nothing is
        raise StalePlanError(
            f"the store that the plan was made from is not there: {url}",
            base_revision=made.base_revision,
            live_revision=0,
            hint="`--store` or RECONCILER_STORE names another",
        )
    async with store:
        if is_rebased:
            return await apply_rebased(store, made, plan_id=plan_id, by=by)
        return made, await apply_plan(store, made, plan_id=plan_id, by=by)


async def is_approved(made: Plan, output_format: str, options: Mapping[str, Any]) -> bool:
    """Whether the terminal says `yes` to a plan; if not, that nothing was changed is said."""
    if output_format == "json" or not sys.stdout.isatty():
        out_plan(made, plan_view(options, err=True), err=True)  # nobody approves what they cannot see
    return await says_yes(PROMPT, refusal="Apply cancelled; nothing was changed.")


def refused(made: Plan) -> int:
    """Say what refuses the plan, below the plan itself; returns the exit code."""
    sys.stdout.flush()
    for refusal in made.refusals:
        view.say_error(f"refused: {refusal.message}", hint=refusal.hint)
    return EXIT_REFUSED


def _applied(
    made: Plan,
    revision: Revision | None,
    output_format: str,
    options: Mapping[str, Any],
    verification: "tuple[Verification, ...]" = (),
) -> int:
    try:
        _out_result(made, revision, output_format, options, verification)
        if output_format == "text" and revision is not None:
            view.out(f"\n{click.style(applied_text(revision, made.summary), fg='green', bold=True)}")
    except BrokenPipeError:
        raise  # whoever reads has read enough
    except OSError as exc:
        if revision is None:
            raise
        reason = (exc.strerror or type(exc).__name__).lower() + (f": {exc.filename}" if exc.filename else "")
        raise ReconcilerError(
            f"revision {revision.number} is applied, but its report is not written: {reason}"
        ) from exc
    return EXIT_OK


def _out_result(
    made: Plan,
    revision: Revision | None,
    output_format: str,
    options: Mapping[str, Any],
    verification: "tuple[Verification, ...]",
) -> None:
    """The document of `--format json` and `--json-into`; with `--verify` also the tests."""
    more: dict[str, Any] = {"revision": revision.number if revision else None}
    if options["verifies"]:
        more["verification"] = [item.to_json() for item in verification]
    _write_json(made, options, **more)
    if output_format == "json":
        view.out_json(_json_of(made, more))


def _write_json(made: Plan, options: Mapping[str, Any], **more: Any) -> None:
    """`--json-into`: the document that `--format json` prints. What stands there already may be a pipe."""
    if options["json_file"] is not None:
        with Path(options["json_file"]).open("w", encoding="utf-8") as file:
            file.write(view.json_text(_json_of(made, more)))


def _require_writable(name: str | None) -> None:
    """Raise OSError for a file of `--json-into` that could not be written, before anything is done. What is no file is
    not opened: the reader of a pipe would take that for its end."""
    if name is None:
        return
    path = Path(name)
    place = path if path.exists() else path.parent
    if not place.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    if not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)


def _json_of(made: Plan, more: Mapping[str, Any]) -> dict[str, Any]:
    from reconciler.plan.schema import plan_json

    return {**plan_json(made), **more}


def _provenance(options: Mapping[str, Any], commit: str | None) -> Provenance:
    from reconciler.cli.provenance import applied_by, warrant

    who = options["given_by"]
    return Provenance(applied_by(who), time.time_ns() // 1_000_000, commit, warrant=warrant(who))


def _saved(made: Plan, options: Mapping[str, Any]) -> "SavedPlan":
    from reconciler.plan.saved import SavedPlan

    return SavedPlan(made, new_id(), time.time_ns() // 1_000_000, VERSION, _commit(options))


def _commit(options: Mapping[str, Any]) -> str | None:
    from reconciler.cli.provenance import commit_of

    return commit_of(chosen_paths(options["paths"]), options["commit"])
