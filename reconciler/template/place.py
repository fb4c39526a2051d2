"""The places of a template's expressions in JSON, and what is not JSON about it, at the template's own positions.

Called by `compile`, for the places, and by `check`, for the faults.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.errors import Severity
from reconciler.template.fault import INNER_JSON, NOT_JSON, Source, TemplateFault
from reconciler.template.scan import HOLE, NotJson, Place, read_document, read_string
from reconciler.template.syntax import Block, Mustache, Partial, Program, Secret, Text

Node = Text | Secret | Mustache


@dataclass(frozen=True, slots=True)
class Layout:
    """A template as literal text and expressions, with a place for each expression; no places where it is not JSON."""

    nodes: tuple[Node, ...]
    places: tuple[Place, ...]
    faults: tuple[TemplateFault, ...]

    @property
    def errors(self) -> tuple[TemplateFault, ...]:
        """The faults for which the template cannot be used."""
        return tuple(fault for fault in self.faults if fault.is_error)

    @property
    def is_value(self) -> bool:
        """Whether the template is one expression and nothing else."""
        return len(self.nodes) == 1 and isinstance(self.nodes[0], Mustache)


def nodes_of(program: Program) -> tuple[Node, ...] | None:
    """Literal text and expressions in order, without comments and empty text; None where there is something whose text
    is known only when it is rendered."""
    for node in program.body:
        if isinstance(node, Block | Partial) or (isinstance(node, Mustache) and node.is_decorator):
            return None
    return tuple(
        node for node in program.body if isinstance(node, Secret | Mustache) or (isinstance(node, Text) and node.value)
    )


def document_layout(source: Source, nodes: tuple[Node, ...]) -> Layout:
    """The layout of a template that is to become a JSON document."""
    return _layout(source, nodes, is_document=True)


def leaf_layout(source: Source, nodes: tuple[Node, ...]) -> Layout:
    """The layout of a leaf of a mapping body: one expression alone is a value, everything else a JSON string."""
    alone = Layout(nodes, (Place(0, is_value=True),), ())
    return alone if alone.is_value else _layout(source, nodes, is_document=False)


def _layout(source: Source, nodes: tuple[Node, ...], *, is_document: bool) -> Layout:
    probe = _Probe(nodes)
    try:
        reading = (read_document if is_document else read_string)(probe.text)
    except NotJson as exc:
        start, end = probe.origin(exc.start), probe.origin_of_end(exc.end)
        fault = source.fault(NOT_JSON, exc.message, start, max(start, end), hint=exc.hint)
        return Layout(nodes, (), (fault,))
    return Layout(nodes, reading.places, tuple(_warnings(source, probe, reading.broken)))


def _warnings(source: Source, probe: "_Probe", spans: Sequence[tuple[int, int]]) -> Iterator[TemplateFault]:
    for start, end in dict.fromkeys(spans):
        yield source.fault(
            INNER_JSON,
            "the string looks like JSON but is not: its expressions are escaped as plain text",
            probe.origin(start),
            probe.origin_of_end(end),
            hint="mend the JSON inside the string, and the receiver can parse it whatever the values are",
            severity=Severity.WARNING,
        )


class _Probe:
    """The template's text with HOLE for each expression, and the way from its offsets back to the template's."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        self.nodes = nodes
        self.offsets: list[int] = []
        parts: list[str] = []
        length = 0
        for node in nodes:
            self.offsets.append(length)
            part = node.value if isinstance(node, Text) else HOLE
            parts.append(part)
            length += len(part)
        self.text = "".join(parts)

    def origin(self, offset: int) -> int:
        """The template's offset of a character of the probe; that of the end for the probe's end."""
        if not self.nodes:
            return 0
        if offset >= len(self.text):
            return self.nodes[-1].end
        index = bisect_right(self.offsets, offset) - 1
        node = self.nodes[index]
        return node.start + offset - self.offsets[index] if isinstance(node, Text) else node.start

    def origin_of_end(self, offset: int) -> int:
        """The template's offset after the character before `offset`."""
        if not self.nodes or offset == 0:
            return 0
        index = bisect_right(self.offsets, offset - 1) - 1
        node = self.nodes[index]
        return node.start + offset - self.offsets[index] if isinstance(node, Text) else node.end
