"""Which parts of the language a template uses that are read but not carried out.

Called by `compile`, which refuses such a template, and by `check`, which warns of each place.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from reconciler.errors import Severity
from reconciler.template.fault import FAULTS_MAX, NO_EFFECT_YET, Source, TemplateFault, shown
from reconciler.template.parse import Parsed
from reconciler.template.syntax import Block, Call, Expression, Literal, Mustache, Partial, Path, Program

_HINT: Final = "nothing is sent for a webhook that uses it; a path such as `{{data.id}}` has effect"


def faults_without_effect(parsed: Parsed) -> tuple[TemplateFault, ...]:
    """A warning for each construct that has no effect yet, in order."""
    return tuple(islice(_in_program(parsed.source, parsed.program), FAULTS_MAX))


def root_path(expression: Expression) -> Path | None:
    """The expression if it is a path from the event's root whose value can be written, else None."""
    if not isinstance(expression, Path) or expression.depth:
        return None
    if expression.is_data and [segment.name for segment in expression.segments[:1]] != ["root"]:
        return None
    return expression


def _in_program(source: Source, program: Program) -> Iterator[TemplateFault]:
    for node in program.body:
        if not isinstance(node, Mustache | Partial | Block):
            continue
        message = _of_node(source, node) if _text(source, node.call) else ""  # empty: reported as unreadable
        if message:
            yield source.fault(
                NO_EFFECT_YET,
                f"{message} has no effect yet",
                node.start,
                node.end,
                hint=_HINT,
                severity=Severity.WARNING,
            )
        if isinstance(node, Block):
            for branch in (node.program, node.inverse):
                if branch is not None:
                    yield from _in_program(source, branch)


def _of_node(source: Source, node: Mustache | Partial | Block) -> str:
    """What of a statement has no effect; empty if all of it has."""
    name = _text(source, node.call)
    # 1. a block, 2. {{> name}}, 3. {{* name}}, 4. {{name argument}}, 5. {{"text"}}, 6. {{@index}} and {{../name}}
    if isinstance(node, Block):
        return f"the block {shown(node.kind + name)}"
    if isinstance(node, Partial):
        return f"the partial {shown(name)}"
    if node.is_decorator:
        return f"the decorator {shown(name)}"
    if not node.call.is_plain:
        return f"the helper call {shown(name)}"
    if isinstance(node.call.callee, Literal):
        return f"the literal {shown(name)}"
    return "" if root_path(node.call.callee) else shown(name)


def _text(source: Source, call: Call) -> str:
    return source.text[call.callee.start : call.callee.end]
