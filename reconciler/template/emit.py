"""A program into a Python function. Called by `compile`.

The function's source is made of names that are counted here, never of anything that a template says: its texts, names
and literals are constants in the function's globals, in which there are no builtins. Generated code is some ten times
as fast as walking the program, which is what decides how many deliveries a daemon renders.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from json.encoder import encode_basestring  # the C function where there is one
from typing import Any, Final

from reconciler.jsontext import JsonValue
from reconciler.template.fact import is_first_or_last
from reconciler.template.helper_compare import holds, holds_or_zero
from reconciler.template.limit import Meter, weigh, weigh_text
from reconciler.template.lookup import get, is_index, walk
from reconciler.template.output import Write, plain_text, string_text
from reconciler.template.program import (
    Again,
    Apply,
    Body,
    Branch,
    Choice,
    Constant,
    Context,
    Detail,
    Frame,
    Hole,
    Include,
    Look,
    Loop,
    LoopDetail,
    Merge,
    Nothing,
    Scope,
    SecretHole,
    Spot,
    Statement,
    Value,
    Variable,
    With,
    Words,
)
from reconciler.template.run import differ, merge, no_partial, secret_of, spread, unfold

FILE: Final = "<template>"  # as tracebacks call the generated code
PARTS_MAX: Final = 32  # pieces between two looks at the output's size

_PREAMBLE: Final = ("out = list()", "put = out.extend", "meter = Meter()", "check = meter.check", "steps = limit = 0")

Render = Callable[[JsonValue, Mapping[str, str]], Iterable[str]]
Writer = Callable[[Hole | SecretHole], Write | None]

_DETAIL_INDEX: Final[Mapping[Detail, int]] = {"index": 0, "key": 1, "first": 2, "last": 3}
_SHARED: Final[dict[str, Any]] = {
    "__builtins__": {},
    "E": (KeyError, TypeError, IndexError),
    "Meter": Meter,
    "cut": slice(1, -1),
    "dict": dict,
    "differ": differ,
    "enumerate": enumerate,
    "escaped": encode_basestring,
    "get": get,
    "holds": holds,
    "holds_or_zero": holds_or_zero,
    "len": len,
    "list": list,
    "merge": merge,
    "no_partial": no_partial,
    "plain_text": plain_text,
    "secret_of": secret_of,
    "str": str,
    "spread": spread,
    "type": type,
    "unfold": unfold,
    "walk": walk,
    "weigh": weigh,
    "weigh_text": weigh_text,
}


class Emitter:
    """Writes one function: `body` and `words` in the order of the output, then `function`."""

    def __init__(self, root: Context) -> None:
        self.constants: dict[str, Any] = dict(_SHARED)
        self.spots: dict[int, tuple[Spot, str]] = {}  # by the line of the source, with the helper it calls
        self._lines: list[str] = []
        self._indent = 1
        self._names: dict[object, str] = {root: "c0"}
        self._known: dict[tuple[type, Any], str] = {}
        self._parts: list[tuple[str, Spot | None]] = []
        self._text = ""
        self._writer: Writer = lambda _: None
        self._dropped: Container[Words] = ()
        self._spell: Callable[[str], str] = str
        self._levels = 0
        self._count = 0
        self._is_straight = True  # nothing but text and expressions so far
        for line in _PREAMBLE:
            self._add(line)

    def function(self) -> Render:
        """The function, once everything has been written."""
        if self._is_straight:
            self._lines[: len(_PREAMBLE)] = [""] * len(_PREAMBLE)
            self._flush("return")
        else:
            self._flush()
            self._add("return out")
        source = "\n".join(["def render(c0, secrets):", *self._lines, ""])
        exec(compile(source, FILE, "exec"), self.constants)
        render: Render = self.constants.pop("render")
        return render

    def words(self, text: str) -> None:
        """Write literal text."""
        self._text += text

    def body(
        self,
        body: Body,
        writer: Writer,
        *,
        dropped: Container[Words] = (),
        spell: Callable[[str], str] = str,
        levels: int = 0,
    ) -> None:
        """Write a body: each expression by the function that `writer` gives (none: it is never reached), literal text,
        if not `dropped`, as `spell` spells it, which is `levels` times inside a JSON string."""
        self._writer, self._dropped, self._spell, self._levels = writer, dropped, spell, levels
        self._body(body)

    # Lines and names

    def _add(self, line: str, spot: Spot | None = None, helper: str = "") -> None:
        self._lines.append(f"{' ' * self._indent}{line}")
        if spot is not None:
            self.spots[len(self._lines) + 1] = spot, helper  # the first line is the function's head

    def _name(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"

    def _constant(self, value: Any) -> str:
        """The name of a constant."""
        key = (type(value), value if isinstance(value, str | int) else id(value))
        if key not in self._known:
            self._known[key] = name = self._name("k")
            self.constants[name] = value
        return self._known[key]

    @contextmanager
    def _indented(self, line: str) -> Iterator[None]:
        """The lines of a compound statement."""
        self._flush()
        self._is_straight = False
        self._add(line)
        self._indent += 1
        before = len(self._lines)
        yield
        self._flush()
        if len(self._lines) == before:
            self._add("pass")
        self._indent -= 1

    def _flush(self, put: str = "put") -> None:
        """Write what has been gathered."""
        if self._text:
            self._parts.append((self._constant(self._text), None))
            self._text = ""
        if not self._parts and put == "put":
            return
        self._is_straight = False
        self._add(f"{put}((")
        for part, spot in self._parts:
            self._add(f"{part},", spot)
        self._add("))")
        self._parts = []

    def _part(self, expression: str, spot: Spot) -> None:
        if self._text:
            self._parts.append((self._constant(self._text), None))
            self._text = ""
        self._parts.append((expression, spot))
        if len(self._parts) >= PARTS_MAX:
            self._flush()
            self._add("limit = check(steps, out)", spot)

    # Statements

    def _body(self, body: Body) -> None:
        for statement in body.statements:
            self._statement(statement)

    def _statement(self, statement: Statement) -> None:
        match statement:
            case Words():
                if statement not in self._dropped:
                    self.words(self._spell(statement.text))
            case Hole():
                self._hole(statement)
            case SecretHole():
                write = self._writer(statement)
                if write is not None:
                    call = f"secret_of(secrets, {self._constant(statement.name)})"
                    self._part(f"{self._constant(write)}({call})", statement.spot)
            case Branch():
                self._branch(statement)
            case With():
                self._with(statement)
            case Loop():
                self._loop(statement)
            case Include():
                self._include(statement)
            case Again():
                self._again(statement)
            case Choice():
                self._choice(statement)

    def _hole(self, hole: Hole) -> None:
        write = self._writer(hole)
        if write is None:
            return
        value = hole.value
        if isinstance(value, Constant | Nothing):
            self.words(write(value.value if isinstance(value, Constant) else None))
            return
        name, call = self._value(value), self._constant(write)
        if write is string_text and name.isidentifier():  # text without a character to look at again, the short way
            self._part(
                f"escaped({name})[cut] if type({name}) is str and {name}.isascii() else {call}({name})", hole.spot
            )
        else:
            self._part(f"{call}({name})", hole.spot)

    def _branch(self, branch: Branch) -> None:
        condition = self._condition(branch)
        if branch.then.statements or not branch.otherwise.statements:
            with self._indented(f"if {condition}:"):
                self._body(branch.then)
            if branch.otherwise.statements:
                with self._indented("else:"):
                    self._body(branch.otherwise)
        else:
            with self._indented(f"if not ({condition}):"):
                self._body(branch.otherwise)

    def _condition(self, branch: Branch) -> str:
        value = self._value(branch.condition)
        zero = branch.zero_holds
        # 1. true or false, 2. includeZero as a literal, 3. includeZero as a value, 4. anything
        if zero is None and _is_boolean(branch.condition):
            return value
        if isinstance(zero, Constant):
            return f"{'holds_or_zero' if holds(zero.value) else 'holds'}({value})"
        if zero is not None:
            return f"(holds_or_zero if holds({self._value(zero)}) else holds)({value})"
        return f"{value} or type({value}) is dict"

    def _with(self, block: With) -> None:
        value = self._value(block.value)
        with self._indented(f"if holds_or_zero({value}):"):
            if block.scope.context not in self._names:
                self._enter(block.scope, value)
            self._body(block.then)
        if block.otherwise.statements:
            with self._indented("else:"):
                self._body(block.otherwise)

    def _enter(self, scope: Scope, value: str) -> None:
        """Give a scope's context its value."""
        assert isinstance(scope.context, Context)
        name = self._names[scope.context] = self._name("c")
        self._add(f"{name} = {value}")
        self._climb(scope)

    def _climb(self, scope: Scope) -> None:
        """Find the contexts above a dynamic scope, as far as they are wanted."""
        if not scope.ancestors or scope.parent is None:
            return
        has_level = self._name("d")
        self._add(f"{has_level} = differ({self._variable(scope.context)}, {self._variable(scope.parent.context)})")
        for ancestor in scope.ancestors.values():
            self._names[ancestor] = name = self._name("a")
            one, other = self._variable(ancestor.with_level), self._variable(ancestor.without_level)
            self._add(f"{name} = {one} if {has_level} else {other}")

    def _loop(self, loop: Loop) -> None:
        frame, value = loop.frame, self._value(loop.value)
        items, keys, is_loop = self._name("x"), self._name("y"), self._name("b")
        self._flush()
        if loop.is_section:
            assert loop.scope.parent is not None
            around = self._variable(loop.scope.parent.context)
            self._add(f"{items}, {is_loop} = unfold({value}, {around})")
        elif "key" in frame.used:
            self._add(f"{items}, {keys} = spread({value})")
        else:
            self._add(f"{items} = {value} if type({value}) is list else spread({value})[0]")
        assert isinstance(loop.scope.context, Context)
        item = self._names[loop.scope.context] = self._name("c")
        index, last = self._name("i"), self._name("z")
        with self._indented(f"if {items}:"):
            if "last" in frame.used:
                self._add(f"{last} = len({items}) - 1")
            own = {
                "index": index,
                "key": index if loop.is_section else f"({keys}[{index}] if {keys} else {index})",
                "first": f"({index} == 0)",
                "last": f"({index} == {last})",
            }
            for detail in _DETAIL_INDEX:
                outer = self._detail(frame.otherwise, detail) if loop.is_section else ""
                text = f"({own[detail]} if {is_loop} else {outer})" if loop.is_section else own[detail]
                self._names[LoopDetail(frame, detail)] = text
            head = f"for {index}, {item} in enumerate({items}):" if frame.used else f"for {item} in {items}:"
            with self._indented(head):
                self._add(f"steps += {1 + len(loop.then.statements)}")
                self._add("if steps > limit: limit = check(steps, out)", loop.spot)
                self._climb(loop.scope)
                self._body(loop.then)
        if loop.otherwise.statements:
            with self._indented("else:"):
                self._body(loop.otherwise)

    # Partials

    def _include(self, include: Include) -> None:
        self._flush()
        start = self._begin_indented(include.indent)
        if include.frame is None:
            if include.value is not None:
                self._enter(include.scope, self._value(include.value))
            else:
                self._climb(include.scope)
            self._body(include.body)
        else:
            self._function(include)
        self._end_indented(start, include.indent, include.spot)

    def _function(self, include: Include) -> None:
        """A partial that may include itself: a function of its context and its loop."""
        assert include.value is not None and include.frame is not None
        value, frame = self._value(include.value), self._frame(include.outer_frame, include.frame)
        name, context, details = self._name("r"), self._name("c"), self._name("f")
        self._names[include] = name
        if include.scope.context not in self._names:
            self._names[include.scope.context] = context
        for detail, index in _DETAIL_INDEX.items():
            self._names[LoopDetail(include.frame, detail)] = f"{details}[{index}]"
        with self._indented(f"def {name}({context}, {details}):"):
            self._add("nonlocal steps, limit")
            self._add("meter.enter()", include.spot)
            self._climb(include.scope)
            self._body(include.body)
            self._flush()
            self._add("meter.leave()")
        self._add(f"{name}({value}, {frame})")

    def _again(self, again: Again) -> None:
        assert again.target.frame is not None
        self._flush()
        start = self._begin_indented(again.indent)
        value, frame = self._value(again.value), self._frame(again.frame, again.target.frame)
        self._add(f"{self._names[again.target]}({value}, {frame})", again.spot)
        self._end_indented(start, again.indent, again.spot)

    def _frame(self, frame: Frame | None, target: Frame) -> str:
        """The details of a loop for a partial that may include itself."""
        details = [self._detail(frame, detail) if detail in target.used else "None" for detail in _DETAIL_INDEX]
        return f"({', '.join(details)})"

    def _begin_indented(self, indent: str) -> str:
        if not indent:
            return ""
        start = self._name("q")
        self._is_straight = False
        self._add(f"{start} = len(out)")
        return start

    def _end_indented(self, start: str, indent: str, spot: Spot) -> None:
        self._flush()
        if start:
            self._add(f"meter.fold(out, {start}, {self._constant(indent)}, {self._levels})", spot)

    def _choice(self, choice: Choice) -> None:
        self._flush()
        name, keyword = self._name("v"), "if"
        self._add(f"{name} = plain_text({self._value(choice.value)})")
        for option, include in choice.options.items():
            with self._indented(f"{keyword} {name} == {self._constant(option)}:"):
                if option in choice.unfit:
                    self._add(f"no_partial({name}, True)", choice.spot)
                else:
                    self._statement(include)
            keyword = "elif"
        with self._indented("else:" if choice.options else "if True:"):
            if choice.otherwise is not None:
                self._include(choice.otherwise)
            else:
                self._add(f"no_partial({name}, False)", choice.spot)

    # Values

    def _value(self, value: Value) -> str:
        """The name of a value, once the lines that find it are written."""
        match value:
            case Constant():
                return self._constant(value.value)
            case Nothing():
                return "None"
            case Look():
                return self._look(value)
            case Apply():
                return self._apply(value)
            case Merge():
                named = [f"({self._constant(key)}, {self._value(item)})" for key, item in value.named]
                name = self._name("v")
                self._add(f"{name} = merge({self._value(value.base)}, ({', '.join(named)},))")
                return name

    def _look(self, look: Look) -> str:
        """Field by field the short way; where that fails, by `walk`."""
        base, names = self._variable(look.base), look.names
        if not names:
            return base
        path, value = base, self._name("v")
        for name in names:
            if is_index(name):
                constant, text = self._constant(int(name)), self._constant(name)
                path = f"(t[{constant}] if type(t := {path}) is list else get(t, {text}))"
            else:
                path = f"{path}[{self._constant(name)}]"
        self._add(f"try: {value} = {path}")
        self._add(f"except E: {value} = walk({base}, {self._constant(names)})")
        return value

    def _apply(self, apply: Apply) -> str:
        arguments = [self._value(argument) for argument in apply.arguments]
        name, helper = self._name("v"), apply.helper
        self._add(f"{name} = {self._constant(helper.call)}({', '.join(arguments)})", apply.spot, helper.name)
        if helper.weight != "none":
            self._is_straight = False
            weigh = "weigh_text" if helper.weight == "text" else "weigh"
            self._add(f"steps += {weigh}({arguments[0]}, {name})")
            self._add("if steps > limit: limit = check(steps, out)", apply.spot)
        return name

    def _variable(self, variable: Variable | None) -> str:
        """The expression of a variable."""
        if isinstance(variable, LoopDetail):
            return self._detail(variable.frame, variable.name)
        return "None" if variable is None else self._names[variable]

    def _detail(self, frame: Frame | None, detail: Detail) -> str:
        """The expression of a loop's detail."""
        while frame is not None and frame.same_as is not None:
            frame = frame.same_as
        return "None" if frame is None else self._names.get(LoopDetail(frame, detail), "None")


def _is_boolean(value: Value) -> bool:
    """Whether a value is true or false and nothing else."""
    if isinstance(value, Look):
        return is_first_or_last(value)
    return isinstance(value, Apply) and value.helper.is_predicate
