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

    def problem(self, document: Document, fault: Fault, *, is_default: bool = False) -> Problem:
        """The problem of a fault found in a document. With `is_default` the fault is in the project's defaults, its
        path as in a webhook; else that is found out: what the document does not say itself comes from there."""
        tree, file, path = self._tree(document), document.file, fault.path
        default = _default_path(path)
        if self._project is not None and default is not None:
            below = self._defaults()
            if is_default or (not tree.has(path) and below.depth(default) - 1 > tree.depth(path)):
                tree, file, path = below, self._project.file, default
        if fault.line is not None and fault.column is not None:
            span = tree.text_span(path, line=fault.line, column=fault.column, end_column=fault.end_column)
        else:
            span = tree.span(path, on_key=fault.on_key)
        return Problem(
            fault.severity,
            fault.code,
            fault.message,
            path=join_path(path),
            file=file,
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
