"""Faults to problems: finds the place of a path in the file, or in the project's defaults where it comes from there.

Called by `manifest.load` for what is at fault only; composes a file's nodes when they are first asked for and keeps
those of one file, since faults come file by file.
"""

from collections.abc import Mapping

from reconciler.errors import Problem
from reconciler.manifest.parse import Document, trees
from reconciler.manifest.spans import Tree
from reconciler.models.fault import Fault, Path, join_path


class Placer:
    """Knows every file's text."""

    def __init__(self, texts: Mapping[str, str], variables: Mapping[str, str], project: Document | None) -> None:
        self._texts = texts
        self._variables = variables
        self._project = project
        self._project_tree: Tree | None = None
        self._file: str | None = None
        self._trees: list[Tree] = []

    def origin(self, document: Document, fault: Fault, *, is_default: bool = False) -> tuple[Document, Path]:
        """The document and the path in it that a fault found in `document` comes from. With `is_default` that is the
        project, the fault's path being as in a webhook; else so it is for what the document does not say itself."""
        default = _default_path(fault.path)
        if self._project is None or default is None:
            return document, fault.path
        tree, below = self._tree(document), self._defaults()
        if is_default or (not tree.has(fault.path) and below.depth(default) - 1 > tree.depth(fault.path)):
            return self._project, default
        return document, fault.path

    def problem(self, document: Document, path: Path, fault: Fault) -> Problem:
        """The problem of a fault whose origin is this path of this document."""
        tree = self._defaults() if document is self._project else self._tree(document)
        if fault.line is not None and fault.column is not None:
            span = tree.text_span(path, line=fault.line, column=fault.column, end_column=fault.end_column)
        else:
            span = tree.span(path, on_key=fault.on_key)
        return Problem(
            fault.severity,
            fault.code,
            fault.message,
            path=join_path(path),
            file=document.file,
            line=span.line,
            column=span.column,
            end_line=span.end_line,
            end_column=span.end_column,
            hint=fault.hint,
        )

    def _tree(self, document: Document) -> Tree:
        if self._file != document.file:
            self._trees = trees(self._texts[document.file], self._variables)
            self._file = document.file
        return self._trees[document.index]

    def _defaults(self) -> Tree:
        if self._project_tree is None:
            assert self._project is not None
            project = self._project
            self._project_tree = trees(self._texts[project.file], self._variables)[project.index]
        return self._project_tree


def _default_path(path: Path) -> Path | None:
    return ("spec", "defaults", *path[1:]) if len(path) > 1 and path[0] == "spec" else None
