"""A program into a Python function: which lines each statement and value becomes. Called by `compile`.

Nothing that a template says becomes a line: its texts, names and literals are constants (see `code`), and what runs is
in `run`, `limit` and the helpers.
"""

from collections.abc import Callable, Container, Mapping
from typing import Final

from reconciler.template.code import EVENT, Code
from reconciler.template.fact import is_first_or_last
from reconciler.template.helper_compare import holds
from reconciler.template.lookup import is_index
from reconciler.template.output import Write, string_text
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

SHORT_PATH_MAX: Final = 16  # names; Python's parser nests no more than two hundred parentheses

Writer = Callable[[Hole | SecretHole], Write | None]

_DETAIL_INDEX: Final[Mapping[Detail, int]] = {"index": 0, "key": 1, "first": 2, "last": 3}


class Emitter(Code):
    """Writes one function: `body` and `words` in the order of the output, then `function`."""

    def __init__(self, root: Context) -> None:
        super().__init__()
        self._names: dict[object, str] = {root: EVENT}
        self._writer: Writer = lambda _: None
        self._dropped: Container[Words] = ()
        self._spell: Callable[[str], str] = str
        self._levels = 0

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
                    call = f"secret_of(secrets, {self.constant(statement.name)})"
                    self.part(f"{self.constant(write)}({call})", statement.spot)
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
        name = self._value(value)
        expression, in_utf8 = f"{self.constant(write)}({name})", ""
        if write is string_text and name.isidentifier():  # text without a character to look at again, the short way
            is_plain = f"type({name}) is str and {name}.isascii()"
            in_utf8 = f"quoted({name})[cut] if {is_plain} else string_bytes({name})"
            expression = f"quoted({name})[cut].decode() if {is_plain} else {expression}"
        self.part(expression, hole.spot, in_utf8=in_utf8)

    def _branch(self, branch: Branch) -> None:
        condition = self._condition(branch)
        if branch.then.statements or not branch.otherwise.statements:
            with self.indented(f"if {condition}:"):
                self._body(branch.then)
            if branch.otherwise.statements:
                with self.indented("else:"):
                    self._body(branch.otherwise)
        else:
            with self.indented(f"if not ({condition}):"):
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
        with self.indented(f"if holds_or_zero({value}):"):
            if block.scope.context not in self._names:
                self._enter(block.scope, value)
            self._body(block.then)
        if block.otherwise.statements:
            with self.indented("else:"):
                self._body(block.otherwise)

    def _enter(self, scope: Scope, value: str) -> None:
        """Give a scope's context its value."""
        assert isinstance(scope.context, Context)
        name = self._names[scope.context] = self.name("c")
        self.add(f"{name} = {value}")
        self._climb(scope)

    def _climb(self, scope: Scope) -> None:
        """Find the contexts above a dynamic scope, as far as they are wanted."""
        if not scope.ancestors or scope.parent is None:
            return
        has_level = self.name("d")
        self.add(f"{has_level} = differ({self._variable(scope.context)}, {self._variable(scope.parent.context)})")
        for ancestor in scope.ancestors.values():
            self._names[ancestor] = name = self.name("a")
            one, other = self._variable(ancestor.with_level), self._variable(ancestor.without_level)
            self.add(f"{name} = {one} if {has_level} else {other}")

    def _loop(self, loop: Loop) -> None:
        frame, value = loop.frame, self._value(loop.value)
        items, keys, is_loop = self.name("x"), self.name("y"), self.name("b")
        self.flush()
        if loop.is_section:
            assert loop.scope.parent is not None
            around = self._variable(loop.scope.parent.context)
            self.add(f"{items}, {is_loop} = unfold({value}, {around})")
        elif "key" in frame.used:
            self.add(f"{items}, {keys} = spread({value})")
        else:
            self.add(f"{items} = {value} if type({value}) is list else spread({value})[0]")
        assert isinstance(loop.scope.context, Context)
        item = self._names[loop.scope.context] = self.name("c")
        index, last = self.name("i"), self.name("z")
        with self.indented(f"if {items}:"):
            if "last" in frame.used:
                self.add(f"{last} = len({items}) - 1")
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
            with self.indented(head):
                self.add(f"steps += {1 + len(loop.then.statements)}")
                self.add("if steps > limit: limit = check(steps, out)", loop.spot)
                self._climb(loop.scope)
                self._body(loop.then)
        if loop.otherwise.statements:
            with self.indented("else:"):
                self._body(loop.otherwise)

    # Partials

    def _include(self, include: Include) -> None:
        self.flush()
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
        name, context, details = self.name("r"), self.name("c"), self.name("f")
        self._names[include] = name
        if include.scope.context not in self._names:
            self._names[include.scope.context] = context
        for detail, index in _DETAIL_INDEX.items():
            self._names[LoopDetail(include.frame, detail)] = f"{details}[{index}]"
        with self.indented(f"def {name}({context}, {details}):"):
            self.add("nonlocal steps, limit")
            self.add("meter.enter()", include.spot)
            self._climb(include.scope)
            self._body(include.body)
            self.flush()
            self.add("meter.leave()")
        self.add(f"{name}({value}, {frame})")

    def _again(self, again: Again) -> None:
        assert again.target.frame is not None
        self.flush()
        start = self._begin_indented(again.indent)
        value, frame = self._value(again.value), self._frame(again.frame, again.target.frame)
        self.add(f"{self._names[again.target]}({value}, {frame})", again.spot)
        self._end_indented(start, again.indent, again.spot)

    def _frame(self, frame: Frame | None, target: Frame) -> str:
        """The details of a loop for a partial that may include itself."""
        details = [self._detail(frame, detail) if detail in target.used else "None" for detail in _DETAIL_INDEX]
        return f"({', '.join(details)})"

    def _begin_indented(self, indent: str) -> str:
        if not indent:
            return ""
        start = self.name("q")
        self.is_straight = False
        self.add(f"{start} = len(out)")
        return start

    def _end_indented(self, start: str, indent: str, spot: Spot) -> None:
        self.flush()
        if start:
            self.add(f"meter.fold(out, {start}, {self.constant(indent)}, {self._levels})", spot)

    def _choice(self, choice: Choice) -> None:
        self.flush()
        name, keyword = self.name("v"), "if"
        self.add(f"{name} = plain_text({self._value(choice.value)})")
        for option, include in choice.options.items():
            with self.indented(f"{keyword} {name} == {self.constant(option)}:"):
                if option in choice.unfit:
                    self.add(f"no_partial({name}, True)", choice.spot)
                else:
                    self._statement(include)
            keyword = "elif"
        with self.indented("else:" if choice.options else "if True:"):
            if choice.otherwise is not None:
                self._include(choice.otherwise)
            else:
                self.add(f"no_partial({name}, False)", choice.spot)

    # Values

    def _value(self, value: Value) -> str:
        """The name of a value, once the lines that find it are written."""
        match value:
            case Constant():
                return self.constant(value.value)
            case Nothing():
                return "None"
            case Look():
                return self._look(value)
            case Apply():
                return self._apply(value)
            case Merge():
                named = [f"({self.constant(key)}, {self._value(item)})" for key, item in value.named]
                name = self.name("v")
                self.add(f"{name} = merge({self._value(value.base)}, ({', '.join(named)},))")
                return name

    def _look(self, look: Look) -> str:
        """Field by field the short way; where that fails, by `walk`."""
        base, names = self._variable(look.base), look.names
        if not names:
            return base
        path, value = base, self.name("v")
        if len(names) > SHORT_PATH_MAX:
            self.add(f"{value} = walk({base}, {self.constant(names)})")
            return value
        for name in names:
            if is_index(name):
                constant, text = self.constant(int(name)), self.constant(name)
                path = f"(t[{constant}] if type(t := {path}) is list else get(t, {text}))"
            else:
                path = f"{path}[{self.constant(name)}]"
        self.add(f"try: {value} = {path}")
        self.add(f"except E: {value} = walk({base}, {self.constant(names)})")
        return value

    def _apply(self, apply: Apply) -> str:
        arguments = [self._value(argument) for argument in apply.arguments]
        name, helper = self.name("v"), apply.helper
        self.add(f"{name} = {self.constant(helper.call)}({', '.join(arguments)})", apply.spot, helper.name)
        if helper.weight != "none":
            self.is_straight = False
            weigh = "weigh_text" if helper.weight == "text" else "weigh"
            self.add(f"steps += {weigh}({arguments[0]}, {name})")
            self.add("if steps > limit: limit = check(steps, out)", apply.spot)
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
