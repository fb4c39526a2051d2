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
        if isinstance(node, Mustache):
            message = _of_mustache(source, node)
            if message:
                yield _fault(source, message, node.start, node.end)
        elif isinstance(node, Partial):
            yield _fault(source, f"the partial {_name(source, node.call)} has no effect yet", node.start, node.end)
        elif isinstance(node, Block):
            message = f"the block {shown(node.kind + _text(source, node.call))} has no effect yet"
            yield _fault(source, message, node.start, node.end)
            for branch in (node.program, node.inverse):
                if branch is not None:
                    yield from _in_program(source, branch)


def _of_mustache(source: Source, node: Mustache) -> str:
    """What of a mustache has no effect; empty if all of it has."""
    name = _name(source, node.call)
    # 1. {{* name}}, 2. {{name argument}}, 3. {{"text"}}, 4. {{@index}} and {{../name}}
    if node.is_decorator:
        return f"the decorator {name} has no effect yet"
    if not node.call.is_plain:
        return f"the helper call {name} has no effect yet"
    if isinstance(node.call.callee, Literal):
        return f"the literal {name} has no effect yet"
    if root_path(node.call.callee) is None:
        return f"{name} has no effect yet"
    return ""


def _name(source: Source, call: Call) -> str:
    return shown(_text(source, call))


def _text(source: Source, call: Call) -> str:
    return source.text[call.callee.start : call.callee.end]


def _fault(source: Source, message: str, start: int, end: int) -> TemplateFault:
    return source.fault(NO_EFFECT_YET, message, start, end, hint=_HINT, severity=Severity.WARNING)
