"""A manifest file in the one layout: what it says, its comments and the text of its scalars stay as they are.

Called by `reconciler fmt`. Text in, text out; a file that cannot be laid out comes back with problems and without text.
The result is read once more, and refused here if it does not say the same.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import yaml
from pydantic import BaseModel
from yaml import MappingNode, Node

from reconciler.errors import Problem, Severity
from reconciler.manifest.compose import compose
from reconciler.manifest.field import known_keys
from reconciler.manifest.format import KEY_ORDER
from reconciler.manifest.layout import Order, Section, lay_out
from reconciler.manifest.parse import parse
from reconciler.models.fault import Path
from reconciler.models.webhook import Project, Webhook
from reconciler.models.webhook_test import WebhookTest

MODELS: Final[dict[str, type[BaseModel]]] = {"Webhook": Webhook, "Project": Project, "WebhookTest": WebhookTest}

_STRUCTURE: Final = frozenset(  # of such a file nobody knows what it says
    f"yaml.{name}" for name in ("syntax", "character", "tag", "alias", "merge_key", "depth", "documents")
) | {"yaml.duplicate_key", "yaml.key"}


@dataclass(frozen=True, slots=True)
class Formatted:
    """A file laid out; `text` is None where `problems` say why it cannot be."""

    text: str | None
    problems: tuple[Problem, ...] = ()


def format_text(file: str, text: str) -> Formatted:
    """The manifest laid out; the text's line ends must be line feeds. `file` is its name for problems.

    Idempotent. Faults of fields are no obstacle, since only what the layout would change must be understood."""
    problems = [problem for problem in parse(file, text, {}).problems if _is_of_structure(problem)]
    if problems:
        return Formatted(None, tuple(problems))
    tokens, roots = list(yaml.scan(text, Loader=yaml.CSafeLoader)), list(compose(text))
    if refused := [*_refused_tokens(file, tokens), *_refused_roots(file, roots)]:
        return Formatted(None, tuple(refused))
    formatted = lay_out(text, _sections(text, tokens, roots))
    if formatted != text and not _says_the_same(text, formatted):
        message = "cannot be laid out without changing what it says"
        hint = "this is a fault of ours; the file is left as it is"
        return Formatted(None, (Problem(Severity.ERROR, "layout.unsafe", message, file=file, hint=hint),))
    return Formatted(formatted)


def _is_of_structure(problem: Problem) -> bool:
    is_escaped = problem.code == "yaml.character" and problem.path  # within a value, and harmless as it is written
    return problem.code in _STRUCTURE and not is_escaped


def _refused_tokens(file: str, tokens: Iterable[yaml.Token]) -> Iterator[Problem]:
    """What a text may hold without fault, but only where it stands."""
    for token in tokens:
        if isinstance(token, yaml.TagToken):
            yield _problem(file, "yaml.tag", "YAML tags are not taken", "quote what begins with `!`", token)
        elif isinstance(token, yaml.AnchorToken | yaml.AliasToken):
            hint = "write it out, or use the defaults of a Project"
            yield _problem(file, "layout.alias", "anchors and aliases are not laid out", hint, token)
        elif isinstance(token, yaml.DirectiveToken):
            hint = "remove it; no manifest needs one"
            yield _problem(file, "layout.directive", "YAML directives are not laid out", hint, token)


def _refused_roots(file: str, roots: Iterable[Node]) -> Iterator[Problem]:
    for root in roots:
        if not isinstance(root, MappingNode):
            hint = "begin with apiVersion, kind, metadata and spec"
            yield _problem(file, "document.shape", "a document must be a mapping", hint, root)


def _problem(file: str, code: str, message: str, hint: str, place: yaml.Token | Node) -> Problem:
    start, end = place.start_mark, place.end_mark
    line, column = start.line + 1, start.column + 1
    end_column = end.column + 1 if end.line == start.line else column + 1
    return Problem(Severity.ERROR, code, message, "", file, line, column, line, max(end_column, column + 1), hint)


def _sections(text: str, tokens: Iterable[yaml.Token], roots: Sequence[Node]) -> Iterator[Section]:
    separators = (yaml.DocumentStartToken, yaml.DocumentEndToken)
    starts = [0, *(token.end_mark.index for token in tokens if isinstance(token, separators))]
    coming = list(reversed(roots))
    for start, end in zip(starts, [*starts[1:], len(text) + 1], strict=True):
        root = coming.pop() if coming and coming[-1].start_mark.index < end else None
        yield Section(start, root, _order(root))


def _order(root: Node | None) -> Order:
    kind = ""
    if isinstance(root, MappingNode):
        kind = next((str(value.value) for key, value in root.value if key.value == "kind"), "")
    return lambda path: _known(kind, path)


@lru_cache(maxsize=1024)
def _known(kind: str, path: Path) -> Sequence[str]:
    """The keys that the schema knows at a path of a document of this kind, in the schema's order."""
    if not path:
        return KEY_ORDER
    model = MODELS.get(kind)
    if model is Project and path[:2] == ("spec", "defaults"):
        return known_keys(Webhook, ("spec", *path[2:]))
    return known_keys(model, path) if model is not None else ()


def _says_the_same(before: str, after: str) -> bool:
    return _said(before) == _said(after) and _comments(before) == _comments(after)


def _said(text: str) -> tuple[list[Any], list[tuple[str, str]]]:
    """The values of the documents, and what is at fault with them."""
    parsed = parse("", text, {})
    return [document.value for document in parsed.documents], sorted(
        (problem.code, problem.message) for problem in parsed.problems
    )


def _comments(text: str) -> Counter[str]:
    """Every comment, which is what stands between tokens and is no space, and what follows the `|` of a scalar."""
    found: Counter[str] = Counter()
    position = 0
    for token in yaml.scan(text, Loader=yaml.CSafeLoader):
        start, end = token.start_mark.index, token.end_mark.index
        _count(found, text[position:start])
        if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
            _count(found, text[start:end].split("\n", 1)[0][1:])
        position = max(position, end)
    _count(found, text[position:])
    return found


def _count(found: Counter[str], gap: str) -> None:
    for line in gap.split("\n"):
        _, hash_sign, comment = line.partition("#")
        if hash_sign:
            found[comment.rstrip()] += 1
