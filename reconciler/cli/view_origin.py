"""A declared webhook with the origin of each of its values: its manifest, the project's defaults, or ours.

Called by `show --webhook NAME --effective`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import view
from reconciler.cli.option import chosen_paths
from reconciler.cli.planning import plan_view
from reconciler.cli.view_field import Side, side_lines, spelt
from reconciler.errors import ReconcilerError
from reconciler.plan.diff import attributes
from reconciler.plan.redact import shown

if TYPE_CHECKING:
    from reconciler.manifest.load import Manifests
    from reconciler.manifest.origin import Place


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
        if place.origin.value == "partial":
            return f"partial in {place.file}"
        if place.file is not None:
            where = f"{place.file}:{place.line}"
            return where if place.origin.value == "manifest" else f"defaults in {where}"
        return "default on Okta hosts" if place.origin.value == "host" else "built-in default"


def effective_values(name: str, options: Mapping[str, Any]) -> list[Value]:
    """Every value of a declared webhook. Raises ManifestError and ReconcilerError."""
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


def show_values(name: str, values: list[Value], output_format: str, options: Mapping[str, Any]) -> None:
    """The values with their origins, on stdout."""
    if output_format == "json":
        view.out_json({"name": name, "values": [_value_json(value) for value in values]})
        return
    view.out(click.style(f'webhook "{name}"', bold=True))
    width = max((len(spelt(value.path)) for value in values), default=0)
    how = plan_view(options)
    for value in values:
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
