"""One file's text to plain values: strict YAML, variables put in, every fault with its place.

Called by `manifest.load`. Knows nothing of webhooks. The values are None, bool, int, float (in tests with their
digits), str, list and dict with text keys; what is at fault is given as the text that stands there, so that reading
goes on.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from yaml import MappingNode, Node, ScalarNode

from reconciler.errors import Problem, Severity
from reconciler.jsontext import Number
from reconciler.manifest import scalar
from reconciler.manifest.compose import PLAIN, QUOTED, LimitError, compose
from reconciler.manifest.spans import Span, Tree, node_span
from reconciler.manifest.variable import fill
from reconciler.models.fault import Path, holds_secrets, join_path

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_UNREADABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_BARE_TAG: Final = re.compile(r"!(?=[\s,\[\]{}]|\Z)")
_FLOW_REFERENCE: Final = re.compile(r"[\[{,:]\s*\$\{")


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file; `index` counts from 0, `line` and `column` are those of `metadata.name`, or of the
    document where it has none; it begins at `first_line`."""

    file: str
    index: int
    value: Any
    line: int
    column: int
    first_line: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a file says and what is wrong with it as YAML. `faulty` has the (document index, path) of each fault, and
    whether the key is at fault, so that nobody complains of the same thing twice."""

    documents: tuple[Document, ...] = ()
    problems: tuple[Problem, ...] = ()
    faulty: Mapping[tuple[int, Path], bool] = field(default_factory=dict)

    def is_known(self, index: int, path: Path, *, on_key: bool) -> bool:
        """Whether what stands at a path of a document, or above it, is at fault already."""
        if not self.faulty:
            return False
        if any((index, path[:size]) in self.faulty for size in range(1, len(path))):
            return True
        is_key = self.faulty.get((index, path))
        return is_key is not None and (is_key or not on_key)


def parse(file: str, text: str, variables: Mapping[str, str]) -> Parsed:
    """The documents of a file; its line ends must be line feeds. A syntax error ends the file there."""
    if bad := _UNREADABLE.search(text):
        return Parsed(problems=(_unreadable(file, text, bad),))
    documents: list[Document] = []
    problems: list[Problem] = []
    faulty: dict[tuple[int, Path], bool] = {}
    has_bare_tags = _BARE_TAG.search(text) is not None
    try:
        for index, root in enumerate(compose(text)):
            tree = Tree(root, text, variables)
            builder = _Builder(file, tree, has_bare_tags=has_bare_tags, keeps_digits=_is_test(root))
            value = builder.build(root)
            line, column = _name_place(root)
            documents.append(Document(file, index, value, line, column, root.start_mark.line + 1))
            problems.extend(builder.problems)
            faulty.update({(index, path): is_key for path, is_key in builder.faulty.items()})
    except yaml.YAMLError as exc:
        problems.append(_syntax_problem(file, text, exc))
    return Parsed(tuple(documents), tuple(problems), faulty)


def trees(text: str, variables: Mapping[str, str]) -> list[Tree]:
    """The node trees of the file's documents, as far as they can be composed."""
    found: list[Tree] = []
    with suppress(yaml.YAMLError):  # reported when the file was parsed
        for root in compose(text):
            found.append(Tree(root, text, variables))
    return found


class _Builder:
    """Builds one document's value."""

    def __init__(self, file: str, tree: Tree, *, has_bare_tags: bool, keeps_digits: bool) -> None:
        self.file = file
        self.tree = tree
        self.has_bare_tags = has_bare_tags
        self.keeps_digits = keeps_digits
        self.problems: list[Problem] = []
        self.faulty: dict[Path, bool] = {}

    def build(self, node: Node) -> Any:
        """The value of a node."""
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if node.tag is not QUOTED:
            self._tag(node)
        if isinstance(node, MappingNode):
            return self._mapping(node)
        return [self.build(item) for item in node.value]

    def _mapping(self, node: Node) -> dict[str, Any]:
        result: dict[str, Any] = {}
        first: dict[str, Node] | None = None
        for key_node, value_node in node.value:
            key = self._scalar(key_node) if key_node.__class__ is ScalarNode else None
            if key.__class__ is not str:
                key = self._bad_key(key_node)
            if key in result and isinstance(key_node, ScalarNode):  # other keys are at fault, and have no name
                first = first or {item.value: item for item, _ in reversed(node.value) if isinstance(item, ScalarNode)}
                self._duplicate(first.get(key_node.value, key_node), key_node)
            result[key] = self._scalar(value_node) if value_node.__class__ is ScalarNode else self.build(value_node)
        return result

    def _scalar(self, node: ScalarNode) -> Any:
        value: str = node.value
        tag = node.tag
        if (tag is not PLAIN and tag is not QUOTED) or self.has_bare_tags:
            self._tag(node)
        if "${" in value:
            value = self._filled(node)
        if not node.style:
            if value and value[0] not in scalar.TYPED_STARTS:
                return value
            try:
                typed = scalar.resolve(value)
                return Number(value) if self.keeps_digits and (isinstance(typed, float) or value == "-0") else typed
            except scalar.ScalarError as exc:
                self._ambiguous(node, value, exc)
        elif node.style == '"' and _CONTROL.search(value):
            self._control(node)
        return value

    def _filled(self, node: ScalarNode) -> str:
        filled = fill(node.value, self.tree.variables)
        for fault in filled.faults:
            span = self.tree.offset_span(node, fault.start, fault.end)
            self._report(node, fault.code, fault.message, fault.hint, span)
        return filled.text

    def _tag(self, node: Node) -> None:
        is_bare = node.tag is PLAIN or node.tag is QUOTED
        if is_bare and self.tree.text[node.start_mark.index : node.start_mark.index + 1] != "!":
            return
        hint = 'quote what begins with `!`, like "!x"; types follow from how a value is written'
        self._report(node, "yaml.tag", "YAML tags are not taken", hint)

    def _ambiguous(self, node: ScalarNode, value: str, exc: scalar.ScalarError) -> None:
        path = self.tree.path_of(node)
        message = str(exc) if holds_secrets(path) or value == "<<" else f"{exc}: {value[:80]}"
        self._report(node, exc.code, message, exc.hint)

    def _control(self, node: ScalarNode) -> None:
        bad = _CONTROL.search(node.value)
        begin = bad.start() if bad else 0
        span = self.tree.offset_span(node, begin, begin + 1)
        message = f"control characters are not taken: {node.value[begin]!a}"
        self._report(node, "yaml.character", message, "remove it", span)

    def _bad_key(self, node: Node) -> str:
        is_scalar = isinstance(node, ScalarNode)
        message = f"a key must be text: {node.value or 'nothing'}" if is_scalar else "a key must be text"
        hint = "quote the key" if is_scalar else 'quote what begins with `{`, like "{{event_type}}"'
        self._report(node, "yaml.key", message[:120], hint)
        return str(node.value) if is_scalar else "?"

    def _duplicate(self, first: Node, again: Node) -> None:
        place = f"line {first.start_mark.line + 1}, column {first.start_mark.column + 1}"
        message = f"duplicate key: {again.value[:80]}, first at {place}"
        self._report(again, "yaml.duplicate_key", message, "keep one of them; YAML itself would take the last silently")

    def _report(self, node: Node, code: str, message: str, hint: str, span: Span | None = None) -> None:
        path = self.tree.path_of(node)
        self.faulty[path] = self.tree.is_key(node) or self.faulty.get(path, False)
        self.problems.append(_problem(self.file, code, message, hint, span or node_span(node, self.tree.text), path))


def _is_test(root: Node) -> bool:
    """Whether a document is a test, of which numbers become those of events and bodies, digit by digit."""
    pairs = root.value if isinstance(root, MappingNode) else ()
    return any(key.value == "kind" and value.value == "WebhookTest" for key, value in pairs)


def _name_place(root: Node) -> tuple[int, int]:
    """Line and column of `metadata.name`, else of the document."""
    node = root
    for wanted in ("metadata", "name"):
        if type(node) is not MappingNode:
            break
        for key, value in node.value:
            if key.value == wanted:
                node = value
                break
        else:
            break
    mark = node.start_mark if type(node) is ScalarNode else root.start_mark
    return mark.line + 1, mark.column + 1


def _problem(file: str, code: str, message: str, hint: str, span: Span, path: Path = ()) -> Problem:
    return Problem(
        Severity.ERROR,
        code,
        message,
        path=join_path(path),
        file=file,
        line=span.line,
        column=span.column,
        end_line=span.end_line,
        end_column=span.end_column,
        hint=hint,
    )


def _unreadable(file: str, text: str, bad: re.Match[str]) -> Problem:
    begin = bad.start()
    line = text.count("\n", 0, begin) + 1
    column = begin - text.rfind("\n", 0, begin)
    hint = "remove it, or write it as an escape in double quotes"
    message = f"a character that YAML parsers do not agree on: {bad[0]!a}"
    return _problem(file, "yaml.character", message, hint, Span(line, column, line, column + 1))


def _syntax_problem(file: str, text: str, exc: yaml.YAMLError) -> Problem:
    mark, context_mark = getattr(exc, "problem_mark", None), getattr(exc, "context_mark", None)
    if mark is None or getattr(exc, "context", None) in ("while scanning a tag", "while scanning an alias"):
        mark = context_mark or mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    span = Span(line, column, line, column + 1)
    if isinstance(exc, LimitError):
        return _problem(file, exc.code, str(exc.problem), exc.hint, span)
    problem = str(getattr(exc, "problem", None) or "cannot be read")
    context = getattr(exc, "context", None)
    message = f"not YAML: {problem}" + (f" {context}" if context else "")
    return _problem(file, "yaml.syntax", message, _syntax_hint(text, line, column, exc), span)


def _syntax_hint(text: str, line: int, column: int, exc: yaml.YAMLError) -> str:
    lines = text.split("\n")
    row = lines[line - 1] if line <= len(lines) else ""
    context = str(getattr(exc, "context", None) or "")
    if "alias" in context or "undefined alias" in str(getattr(exc, "problem", "")):
        return 'quote what begins with `*`, like "*-prod"'
    if "tag" in context:
        return 'quote what begins with `!`, like "!*-prod"'
    if _FLOW_REFERENCE.search(row):
        return 'quote references inside { } and [ ], like "${secret:name}"'
    if row[:column].isspace() and "\t" in row[:column]:
        return "indent with spaces, not tabs"
    if row[column - 1 : column] in ("@", "`", "%"):
        return f"quote what begins with `{row[column - 1]}`"
    if "mapping values" in str(getattr(exc, "problem", "")):
        return "quote a text that holds `: `, or mend the indentation"
    return "look at the indentation, brackets and quotes around here"
