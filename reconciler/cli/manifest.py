"""`validate`, `schema` and `explain`: manifests and schemas, without a store."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from reconciler.cli import view
from reconciler.cli.option import (
    chosen_paths,
    format_option,
    manifest_cache,
    paths_argument,
    secrets_option,
    var_options,
)
from reconciler.errors import EXIT_FAILED, EXIT_OK, Problem, Severity

if TYPE_CHECKING:
    from reconciler.manifest.load import Manifests
    from reconciler.models.binding import Binding

FORMATS: Final = ("text", "json", "github", "sarif", "junit")  # as `cli.view_report` writes them
DEFAULT_SCHEMA_FOLDER: Final = "schemas"


@click.command()
@paths_argument
@var_options
@secrets_option
@format_option(*FORMATS)
def validate(
    paths: tuple[str, ...],
    variables: tuple[str, ...],
    var_files: tuple[str, ...],
    secrets_file: str | None,
    output_format: str,
) -> int:
    """Check manifests; report every problem at once.

    Reads no store. With --secrets, warns of secrets that the daemon would not resolve.
    """
    from reconciler.cli.view_report import out_manifests
    from reconciler.manifest.load import load_manifests, read_variables

    chosen = chosen_paths(paths)
    bindings, problems = _bindings(secrets_file)
    given = read_variables(variables, [Path(file) for file in var_files])
    now = datetime.now(UTC)
    manifests = load_manifests(
        chosen, variables=given, bindings=bindings, rehearse=True, cache=manifest_cache(), now=now, tests=True
    )
    manifests = replace(manifests, problems=(*problems, *empty_warnings(manifests, chosen), *manifests.problems))
    out_manifests(manifests, chosen, output_format)
    return EXIT_OK if manifests.is_valid else EXIT_FAILED


def _bindings(secrets_file: str | None) -> tuple[Mapping[str, "Binding"] | None, tuple[Problem, ...]]:
    if secrets_file is None:
        return None, ()
    from reconciler.egress.secrets import read_bindings

    return read_bindings(Path(secrets_file))


def empty_warnings(manifests: "Manifests", paths: Sequence[Path]) -> tuple[Problem, ...]:
    """A warning for each path if there is no manifest in any: a typing error must not read as "all valid"."""
    if manifests.outlines or manifests.problems:
        return ()
    hint = "manifests are documents in `*.yaml` and `*.yml` files"
    return tuple(
        Problem(Severity.WARNING, "set.empty", "there is no manifest here", file=str(path), hint=hint) for path in paths
    )


@click.command()
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False),
    default=DEFAULT_SCHEMA_FOLDER,
    show_default=True,
    help="The folder to write to.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file there is not up to date.")
def schema(folder: str, check: bool) -> int:
    """Write the JSON Schemas of manifests, events and plans, and OpenAPI of the API.

    An editor with a YAML language server completes and checks a manifest that begins with
    `# yaml-language-server: $schema=../schemas/manifest.schema.json`.
    """
    from reconciler.manifest.schema import schema_files, schema_text
    from reconciler.plan.document import plan_schema
    from reconciler.web.openapi.document import openapi_text

    others = {"plan.schema.json": schema_text(plan_schema()), "openapi.json": openapi_text()}
    stale = 0
    for name, text in {**schema_files(), **others}.items():
        path = Path(folder) / name
        if path.is_file() and path.read_text("utf-8") == text:
            view.out(f"{path}: up to date")
        elif check:
            stale += 1
            view.out(f"{path}: {'not up to date' if path.exists() else 'missing'}")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            view.out(f"{path}: written")
    if stale:
        view.say_error(f"{stale} schema{'s' if stale > 1 else ''} not up to date", hint="run `reconciler schema`")
    return EXIT_FAILED if stale else EXIT_OK


@click.command()
@click.argument("subject", type=click.Choice(["event", "operational", "manifest"]), default="event")
@format_option()
def explain(subject: str, output_format: str) -> int:
    """Print a schema as a table: the payload of an event, of an operational event (`Reconciler*`), or the fields of a
    manifest."""
    from reconciler.manifest.schema import explain_event, explain_manifest

    fields = explain_manifest() if subject == "manifest" else explain_event(is_operational=subject == "operational")
    last = "default" if subject == "manifest" else "since"
    if output_format == "json":
        view.out_json([{"path": row.path, "type": row.type, "meaning": row.meaning, last: row.last} for row in fields])
    else:
        from reconciler.cli.view_table import out_fields

        out_fields([(row.path, row.type, row.last, row.meaning) for row in fields], last=last)
    return EXIT_OK
