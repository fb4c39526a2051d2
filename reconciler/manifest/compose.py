"""YAML text to nodes, by libyaml, with bounds on what a document may cost. Called by `manifest.parse` and its siblings.

Nodes know where they stand; they live only as long as their document is read (10,000 documents of them are 300 MB).
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode
from yaml.cyaml import CParser  # type: ignore[attr-defined]  # not told by its stubs

DEPTH_MAX: Final = 100  # libyaml recurses in C: a hundred thousand brackets would end the process
DOCUMENTS_MAX: Final = 20_000  # a file; twice the largest set that is measured
ALIASED_NODES_MAX: Final = 10_000  # nodes that a document's aliases may add

QUICK_LEVELS_MAX: Final = 2_000  # which are composed without counting them: a megabyte of C's stack at the most

_OPENERS: Final = "[{-:?"  # every level that is not a scalar has one of these of its own

PLAIN: Final = "plain"
QUOTED: Final = "quoted"


class LimitError(yaml.MarkedYAMLError):
    """A document that is within the grammar, but beyond our bounds."""

    def __init__(self, code: str, message: str, mark: Any, hint: str) -> None:
        super().__init__(problem=message, problem_mark=mark)
        self.code = code
        self.hint = hint


class _Quick(CParser):
    """Nodes whose tag is PLAIN or QUOTED, or else what the author wrote after a `!`."""

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        pass

    def ascend_resolver(self) -> None:
        pass

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        return PLAIN if implicit.__class__ is tuple and implicit[0] else QUOTED


class _Bounded(_Quick):
    """The same, but it stops where the nodes become too deep, before libyaml has gone down there: for a third more."""

    depth = 0

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise _too_deep(getattr(current_node, "start_mark", None))

    def ascend_resolver(self) -> None:
        self.depth -= 1


def _too_deep(mark: Any) -> LimitError:
    message = f"nested deeper than {DEPTH_MAX} levels"
    return LimitError("yaml.depth", message, mark, "no manifest needs so many levels")


def compose(text: str) -> Iterator[Node]:
    """The documents' root nodes, empty ones passed over. Raises yaml.MarkedYAMLError, yaml.reader.ReaderError."""
    levels_max = sum(map(text.count, _OPENERS))
    if levels_max > QUICK_LEVELS_MAX:
        yield from _compose(text, _Bounded)
        return
    done = 0
    try:
        for root in _compose(text, _Quick):
            if levels_max > DEPTH_MAX and _is_deeper(root, DEPTH_MAX):
                break
            yield root
            done += 1
        else:
            return
    except yaml.YAMLError:
        pass  # what is wrong first is said by the other, which may stop earlier
    yield from islice(_compose(text, _Bounded), done, None)


def _compose(text: str, kind: type[_Quick]) -> Iterator[Node]:
    composer = kind(text)
    has_anchors = "&" in text and "*" in text
    try:
        count = 0
        while composer.check_node():
            node = composer.get_node()
            if node is None:
                return
            count += 1
            if count > DOCUMENTS_MAX:
                hint = "spread them over several files"
                message = f"more than {DOCUMENTS_MAX} documents in one file"
                raise LimitError("yaml.documents", message, node.start_mark, hint)
            if has_anchors:
                _check_aliases(node)
            if node.tag is not PLAIN or node.value != "":
                yield node
    except yaml.MarkedYAMLError as exc:
        # a newer libyaml (in PyYAML 6.0.4) has a bound of its own, and its scanner looks further ahead than we go down
        raise (_too_deep(exc.problem_mark) if exc.problem == "exceeded maximum nesting depth" else exc) from None
    finally:
        composer.dispose()


def _is_deeper(node: Node, levels: int) -> bool:
    """Whether a node has more levels, scalars counted; its aliases have been checked to end."""
    if levels < 2 or node.__class__ is ScalarNode:
        return levels < 1 or (levels < 2 and bool(node.value) and node.__class__ is not ScalarNode)
    pairs = node.value if node.__class__ is MappingNode else zip(node.value, node.value, strict=True)
    for key, value in pairs:
        if value.__class__ is not ScalarNode and _is_deeper(value, levels - 1):
            return True
        if key.__class__ is not ScalarNode and _is_deeper(key, levels - 1):
            return True
    return False


def _check_aliases(root: Node) -> None:
    """Raise LimitError where following every alias would never end, or add more than ALIASED_NODES_MAX nodes."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def measure(node: Node) -> int:
        if isinstance(node, ScalarNode):
            sizes[id(node)] = 1
            return 1
        if id(node) in open_nodes:
            raise LimitError("yaml.alias", "an alias stands inside what it names", node.start_mark, "write it out")
        if id(node) not in sizes:
            open_nodes.add(id(node))
            sizes[id(node)] = 1 + sum(measure(child) for child in children(node))
            open_nodes.discard(id(node))
        return sizes[id(node)]

    total = measure(root)
    if total - len(sizes) > ALIASED_NODES_MAX:
        message = f"aliases add more than {ALIASED_NODES_MAX} nodes"
        raise LimitError("yaml.alias", message, root.start_mark, "write it out, or use the defaults of a Project")


def children(node: Node) -> Iterator[Node]:
    """The nodes directly below, keys before their values."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, SequenceNode):
        yield from node.value
