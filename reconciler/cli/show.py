"""`show`: a saved plan as it was planned, or a declared webhook with the origin of each of its values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from reconciler.apply import read_plan
from reconciler.cli import view
from reconciler.cli.option import chosen_paths, format_option, paths_argument, var_options
from reconciler.cli.plan_option import check_view, markdown_options, plan_view, show_plan, view_options
from reconciler.cli.view_field import Side, side_lines, spelt
from reconciler.errors import ReconcilerError
from reconciler.plan.diff import attributes
from reconciler.plan.redact import shown

if TYPE_CHECKING:
    from reconciler.manifest.load import Manifests
    from reconciler.manifest.origin import Place

DEFAULT_ORIGINS: Final = ("host", "built-in")


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a webhook, masked, and where it comes from."""

    path: tuple[str, ...]
    value: Any
    place: "Place"

    @property
    def origin_text(self) -> str:
        """The origin in words: a file and line, or whose default it is."""
        place = self.place
        if place.file is not None:
            where = f"{place.file}:{place.line}"
            return where if place.origin.value == "manifest" else f"defaults in {where}"
        return "default on Okta hosts" if place.origin.value == "host" else "built-in default"


@click.command()
@var_options
@view_options
@markdown_options
@format_option("text", "json", "markdown")
@click.option("--plan", "plan_file", type=click.Path(dir_okay=False), metavar="FILE", help="Show this saved plan.")
@click.option("--webhook", "name", metavar="NAME", help="Show this webhook of the manifests with its values' origins.")
@click.option("--effective", is_flag=True, help="With --webhook: also what nobody says, the defaults.")
@paths_argument
@click.pass_context
def show(
    ctx: click.Context, /, output_format: str, plan_file: str | None, name: str | None, effective: bool, **options: Any
) -> None:
    """Show a saved plan as `plan` showed it; or with --webhook, where each value of a declared webhook comes from.

    A value comes from its manifest, from the defaults of `kind: Project`, or with --effective from a default of the
    receiver's host or of the program. PATHs as for `plan`.
    """
    check_view(output_format, options)
    if (plan_file is None) == (name is None):
        raise click.UsageError("Give --plan FILE or --webhook NAME.", ctx)
    if name is not None:
        if output_format == "markdown":
            raise click.UsageError("--format markdown goes with --plan FILE.", ctx)
        _show_values(name, _values(name, options), output_format, options, has_defaults=effective)
        return
    if effective or options["paths"]:
        raise click.UsageError("--effective and PATH go with --webhook NAME.", ctx)
    saved = read_plan(Path(plan_file or ""))
    show_plan(saved.plan, output_format, options)
    for refusal in saved.plan.refusals:
        view.say_error(f"refused: {refusal.message}", hint=refusal.hint)


def _values(name: str, options: Mapping[str, Any]) -> list[Value]:
    from reconciler.manifest.load import load_manifests, read_variables
    from reconciler.manifest.origin import Origins

    variables = read_variables(options["variables"], tuple(Path(file) for file in options["var_files"]))
    manifests = load_manifests(chosen_paths(options["paths"]), variables=variables)
    manifests.require_valid()
    webhook = next((item for item in manifests.webhooks if item.name == name), None)
    if webhook is None:
        raise _not_declared(name, manifests)
    origins = Origins(manifests, webhook.name, variables)
    return [Value(path, shown(path, value), origins.of(path)) for path, value in attributes(webhook.document())]


def _not_declared(name: str, manifests: "Manifests") -> ReconcilerError:
    from reconciler.manifest.field import did_you_mean

    names = [webhook.name for webhook in manifests.webhooks]
    hint = did_you_mean(name, names) or f"declared are: {', '.join(names[:10]) or 'none'}"
    return ReconcilerError(f"no webhook of this name is declared: {name}", hint=hint)


def _show_values(
    name: str, values: list[Value], output_format: str, options: Mapping[str, Any], *, has_defaults: bool
) -> None:
    told = [value for value in values if has_defaults or value.place.origin.value not in DEFAULT_ORIGINS]
    if output_format == "json":
        view.out_json({"name": name, "values": [_value_json(value) for value in told]})
        return
    view.out(click.style(f'webhook "{name}"', bold=True))
    width = max((len(spelt(value.path)) for value in told), default=0)
    how = plan_view(options)
    for value in told:
        first, *rest = side_lines([Side(value.path, value.value, value.value)], how, width=width)
        origin = click.style(f"# {view.visible(value.origin_text)}", fg="bright_black")
        view.out(f"{first.styled}  {origin}")
        for line in rest:
            view.out(line.styled)


def _value_json(value: Value) -> dict[str, Any]:
    place = value.place
    return {
        "path": spelt(value.path),
        "value": value.value,
        "origin": place.origin.value,
        "file": place.file,
        "line": place.line,
    }
