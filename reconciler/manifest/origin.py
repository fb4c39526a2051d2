"""Where each value of a declared webhook comes from: its manifest, the project, its host, or the program.

Called by `show --webhook NAME`. Reads the files of the webhook and of the project once more, for the places.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path as FilePath
from typing import Any

from reconciler.manifest.file import read_text
from reconciler.manifest.load import Manifests, Source
from reconciler.manifest.parse import parse, trees
from reconciler.manifest.partial import partial_file
from reconciler.manifest.spans import Tree
from reconciler.models.fault import Path
from reconciler.models.webhook import OKTA_DEFAULTS, WebhookName, is_okta_host


class Origin(StrEnum):
    """Who says a value."""

    MANIFEST = "manifest"
    PROJECT = "project"  # its defaults
    PARTIAL = "partial"  # a file of the project's folder of partials
    HOST = "host"  # a default that follows from the URL's host
    BUILT_IN = "built-in"


@dataclass(frozen=True, slots=True)
class Place:
    """The origin of one value, with its file and line where it stands in one."""

    origin: Origin
    file: str | None = None
    line: int | None = None


class Origins:
    """Tells of one webhook of a judged set where its values come from."""

    def __init__(self, manifests: Manifests, name: WebhookName, variables: Mapping[str, str]) -> None:
        self._webhook = _Said(manifests.sources[name], variables)
        self._project = _Said(manifests.project_source, variables) if manifests.project_source else None
        webhook = next(item for item in manifests.webhooks if item.name == name)
        self._partials = _folder_of_partials(manifests)
        self._has_host_defaults = is_okta_host(webhook.host)

    def of(self, path: tuple[str, ...]) -> Place:
        """The place of an attribute of the effective webhook; `path` leads to it from the document's root."""
        said = self._said(path)
        if said is not None:
            return said
        if self._partials is not None and path[:-1] == ("spec", "partials"):
            file = partial_file(self._partials, path[-1])
            return Place(Origin.PARTIAL, str(file) if file is not None else None)
        is_hosts = self._has_host_defaults and path[0] == "spec" and path[1] in OKTA_DEFAULTS
        return Place(Origin.HOST if is_hosts and self._said(path[:2]) is None else Origin.BUILT_IN)

    def _said(self, path: tuple[str, ...]) -> Place | None:
        # 1. the manifest says it; 2. the project's defaults do, unless a `null` lifts them; 3. nobody does
        line, is_lifted = self._webhook.find(path)
        if line is not None:
            return Place(Origin.MANIFEST, self._webhook.file, line)
        if self._project is None or path[0] != "spec" or is_lifted:
            return None
        line, _ = self._project.find(("spec", "defaults", *path[1:]))
        return None if line is None else Place(Origin.PROJECT, self._project.file, line)


def _folder_of_partials(manifests: Manifests) -> FilePath | None:
    source, folder = manifests.project_source, manifests.project.spec.partials
    return None if source is None or folder is None else FilePath(source.file).parent / folder


class _Said:
    """One document as it was written, with its places."""

    def __init__(self, source: Source, variables: Mapping[str, str]) -> None:
        self.file = source.file
        text, _ = read_text(source.file)
        self._value: Any = parse(source.file, text, variables).documents[source.index].value
        self._tree: Tree = trees(text, variables)[source.index]

    def find(self, path: Path) -> tuple[int | None, bool]:
        """The line of the key at a path, if something is said there; and whether a `null` on the way lifts it."""
        value = self._value
        for key in path:
            if not isinstance(value, Mapping) or key not in value:
                return None, False
            value = value[key]
            if value is None:
                return None, True
        return self._tree.span(path, on_key=True).line, False
