"""`check`: the manifests, and the tests that stand among them, without a store and without sending anything."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from reconciler.cli import view
from reconciler.cli.manifest import empty_warnings
from reconciler.cli.option import chosen_paths, format_option, manifest_cache, paths_argument, var_options
from reconciler.errors import EXIT_FAILED, EXIT_OK, Problem, ReconcilerError, Severity

if TYPE_CHECKING:
    from reconciler.manifest.load import Manifests

FORMATS: Final = ("text", "json", "github", "junit")  # as `cli.view_check` writes them


@click.command()
@paths_argument
@var_options
@format_option(*FORMATS)
@click.option(
    "--target", "targets", metavar="GLOB", multiple=True, help="Only tests of webhooks of these names. Repeatable."
)
@click.option("--require-tests", is_flag=True, help="Fail where a webhook has no test.")
def check(
    paths: tuple[str, ...],
    variables: tuple[str, ...],
    var_files: tuple[str, ...],
    output_format: str,
    targets: tuple[str, ...],
    require_tests: bool,
) -> int:
    """Check manifests as `validate` does, then run the WebhookTest documents among them.

    Each gives a webhook an event and says what must come of it: whether it matches, and which request it becomes. What
    differs is shown with its place in the body, in the test and in the webhook. Nothing is sent, no store is read.
    """
    from reconciler.cli.view_check import out_checked
    from reconciler.manifest.check import Outcome, run_tests
    from reconciler.manifest.load import load_manifests, read_variables

    chosen = chosen_paths(paths)
    given = read_variables(variables, [Path(file) for file in var_files])
    now = datetime.now(UTC)
    manifests = load_manifests(chosen, variables=given, rehearse=True, cache=manifest_cache(), now=now, tests=True)
    manifests = replace(manifests, problems=(*empty_warnings(manifests, chosen), *manifests.problems))
    results = run_tests(manifests, targets)
    if targets and not results and manifests.is_valid:
        raise ReconcilerError(
            f"no test is about such a webhook: {', '.join(targets)}", hint="`--target` takes globs over webhooks' names"
        )
    if require_tests:
        manifests = replace(manifests, problems=(*manifests.problems, *_untested(manifests, targets)))
    out_checked(manifests, results, output_format)
    if not results and manifests.is_valid:
        view.say("no tests: they are documents of `kind: WebhookTest`")
    has_passed = manifests.is_valid and all(result.outcome is Outcome.PASSED for result in results)
    return EXIT_OK if has_passed else EXIT_FAILED


def _untested(manifests: "Manifests", targets: Sequence[str]) -> Iterator[Problem]:
    from reconciler.manifest.check import is_chosen, untested

    for webhook in untested(manifests):
        if is_chosen(webhook.name, targets):
            source = manifests.sources[webhook.name]
            message = f"the webhook has no test: {webhook.name}"
            hint = "add a document of `kind: WebhookTest`"
            yield Problem(
                Severity.ERROR, "check.untested", message, "metadata.name", source.file, source.line, hint=hint
            )
