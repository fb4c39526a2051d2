"""Where each expression of a template stands in JSON, through all its branches, and what is not JSON about it.

A template is read as JSON along every way it may take: each branch of a block begins in the same state and all must
end in states that the same text can follow; a loop is read for one turn, the first, a further and the last, so that a
comma `{{#unless @last}}` is understood. Called by `compile`, for the places, and by `check`, for the faults.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from reconciler.errors import Severity
from reconciler.template import scan
from reconciler.template.fact import Facts, Turn, frames_in, is_first_or_last, verdict
from reconciler.template.fault import BRANCHES, INNER_JSON, TOO_DEEP, TOO_LARGE, TemplateFault, shown
from reconciler.template.program import Again, Body, Branch, Choice, Frame, Hole, Include, Loop, Spot, With, Words
from reconciler.template.scan import BLOCK, FINAL, HOLE, MARKS, NotJson, Place, State, TooDeep
from reconciler.template.sketch import Expression, Inner, Item, Sketch, bodies_of, leaves_in, sketch_of

LEVELS_MAX: Final = 8  # JSON in a string, in a string, …: each level doubles the backslashes
STEPS_MAX: Final = 300_000  # tokens read, over all ways; a body template is read in some hundred

_SEPARATE: Final = "this is the loop's second turn: put `{{#unless @last}},{{/unless}}` between the items"
_OTHERWISE: Final = "say what stands there otherwise, such as `{{else}}null`"
_SAME: Final = "open and close brackets and quotes in the same branch"


class Unplaceable(Exception):
    """The template is not JSON; what `is_deep` is an error at every level, never a reason to see plain text."""

    def __init__(self, fault: TemplateFault, *, is_deep: bool = False) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.is_deep = is_deep


@dataclass(slots=True)
class Layout:
    """The place of each expression, whole where there is no error; `dropped` are line feeds that end the files of
    partials and cannot stand in a string."""

    places: dict[Expression, Place] = field(default_factory=dict)
    faults: tuple[TemplateFault, ...] = ()
    dropped: set[Words] = field(default_factory=set)


def document_layout(body: Body) -> Layout:
    """The layout of a template that is to become a JSON document."""
    placer = _Placer()
    sketch = sketch_of(body)
    try:
        end = placer.run(sketch, scan.START, 0, ())
        if problem := scan.incomplete(end, sketch.text, string_start=placer.string_start):
            raise _located(sketch, problem)
    except Unplaceable as exc:
        return Layout(faults=(exc.fault,))
    return placer.layout()


def leaf_layout(body: Body) -> Layout:
    """The layout of a leaf of a mapping body: one expression alone is a value, everything else a JSON string."""
    if is_value(body):
        return Layout({item: Place(0, is_value=True) for item in body.statements if isinstance(item, Hole)})
    placer = _Placer()
    sketch = sketch_of(body)
    try:
        placer.string(sketch, sketch.spot(0, len(sketch.text)), 0, ())
    except Unplaceable as exc:
        return Layout(faults=(exc.fault,))
    layout = placer.layout()
    for item in body.statements[:-1]:  # what has a line to itself keeps it
        if isinstance(item, Include) and item.is_alone:
            layout.dropped.difference_update(item.body.statements[-1:])
    return layout


def is_value(body: Body) -> bool:
    """Whether a leaf is one expression and nothing else, so that it keeps the value's type."""
    return len(body.statements) == 1 and isinstance(body.statements[0], Hole)


@dataclass(slots=True)
class _Shared:
    """What the readings of a document and of the strings in it have in common."""

    left: int = STEPS_MAX
    frames: dict[Body, frozenset[Frame]] = field(default_factory=dict)


class _Placer:
    """Reads one JSON text; `level` strings are around what is read."""

    def __init__(self, shared: _Shared | None = None) -> None:
        self.places: dict[Expression, Place] = {}
        self.broken: list[Spot] = []
        self.dropped: set[Words] = set()
        self.shared = shared or _Shared()
        self.known: dict[tuple[Body, int, State, Facts], State] = {}
        self.entered: dict[Include, tuple[State, int]] = {}
        self.repeated: set[Include] = set()
        self.string_start = 0  # of the last string whose end is in another branch
        self.turns = 0  # loops that are in their second turn

    def layout(self) -> Layout:
        warnings = (
            spot.fault(
                INNER_JSON,
                "the string looks like JSON but is not: its expressions are escaped as plain text",
                hint="mend the JSON inside the string, and the receiver can parse it whatever the values are",
                severity=Severity.WARNING,
            )
            for spot in self.broken
        )
        return Layout(self.places, tuple(dict.fromkeys(warnings)), self.dropped)

    def run(self, sketch: Sketch, state: State, level: int, facts: Facts) -> State:
        """The state after a text. Raises Unplaceable."""
        position = 0
        try:
            while True:
                position = position if state.quoted else scan.skip_space(sketch.text, position)
                if position >= len(sketch.text):
                    return state
                self.shared.left -= 1
                if self.shared.left < 0:
                    raise TooDeep("the blocks can be taken in too many ways", position, position + 1, code=TOO_LARGE)
                position, state = self._step(sketch, position, state, level, facts)
        except NotJson as exc:
            raise _located(sketch, exc, hint=_SEPARATE if self.turns else "") from None

    def _step(self, sketch: Sketch, position: int, state: State, level: int, facts: Facts) -> tuple[int, State]:
        char = sketch.text[position]
        # 1. a block, 2. inside a string, 3. a string begins, 4. any other token
        if char == BLOCK:
            item = sketch.item_at(position)
            assert isinstance(item, Inner)
            return position + 1, self._block(sketch, item, state, level, facts)
        if state.quoted:
            return self._in_string(sketch, position, state, level)
        if char == '"':
            return self._string(sketch, position, state, level, facts)
        match = scan.TOKEN.match(sketch.text, position)
        if match is None:
            raise scan.unreadable(state, sketch.text, position)
        if match.lastgroup == "mark":
            return match.end(), scan.take_mark(state, char, position)
        state = scan.take_value(state, match)
        if char == HOLE:
            self._put(sketch.item_at(position), Place(level, is_value=True))
        return match.end(), state

    def _put(self, item: Item, place: Place) -> None:
        assert isinstance(item, Expression)
        if self.places.setdefault(item, place) != place:
            message = "the expression stands now inside a string and now outside, depending on the blocks around it"
            raise Unplaceable(item.spot.fault(BRANCHES, message, hint=_SAME))

    # Strings

    def _string(self, sketch: Sketch, position: int, state: State, level: int, facts: Facts) -> tuple[int, State]:
        """A string, or, if its end is not in the same branch, its beginning."""
        match = scan.TOKEN.match(sketch.text, position)
        is_whole = match is not None and self._blocks_are_clean(sketch, match)
        quote = match if match is not None and is_whole else scan.QUOTE.match(sketch.text, position)
        assert quote is not None
        raw = quote[2] if is_whole else ""
        has_marks = not is_whole or any(mark in raw for mark in MARKS)
        if state.wants_key:
            key = None if has_marks else scan.key_of(raw)
            after = scan.take_key(state, quote, key, is_outermost=level == 0)
        else:
            after = scan.take_value(state, quote)
        if not is_whole:
            self.string_start = position
            return position + 1, state.inside_string()
        if has_marks:
            inner = sketch.inside(position + 1, quote.end() - 1)
            self.string(inner, sketch.spot(*quote.span()), level, facts)
        return quote.end(), after

    def _blocks_are_clean(self, sketch: Sketch, match: "scan.Match") -> bool:
        """Whether the blocks in a string neither end it nor break it."""
        return all(self._is_clean(item, sketch) for item in sketch.items_in(match.start(), match.end()))

    def _is_clean(self, item: Item, sketch: Sketch) -> bool:
        return all(
            inner.is_clean() and all(self._is_clean(part, sketch) for part in inner.items)
            for inner in (sketch_of(body, sketch.decodes) for body in bodies_of(item))
        )

    def _in_string(self, sketch: Sketch, position: int, state: State, level: int) -> tuple[int, State]:
        """Further text of a string whose quotes are not in one branch; it is plain text."""
        text = scan.STRING_TEXT.match(sketch.text, position)
        if text is not None and text.end() > position:
            return text.end(), state
        char = sketch.text[position]
        if char == HOLE:
            self._put(sketch.item_at(position), Place(level + 1, is_value=False))
            return position + 1, state
        if char == FINAL:
            self._drop(sketch.item_at(position))
            return position + 1, state
        if char != '"':
            raise scan.bad_string(sketch.text, position)
        return position + 1, state.after_string()

    def string(self, inner: Sketch, spot: Spot, level: int, facts: Facts) -> None:
        """Put the expressions of a string's text: as in JSON if it is an object or a list, else as plain text."""
        if self._nested(inner, spot, level, facts):
            return
        for item in leaves_in(inner.items):
            if isinstance(item, Words):
                self._drop(item)
            else:
                self._put(item, Place(level + 1, is_value=False))

    def _drop(self, item: Item) -> None:
        if isinstance(item, Words) and item.is_final:
            self.dropped.add(item)

    def _nested(self, inner: Sketch, spot: Spot, level: int, facts: Facts) -> bool:
        text = inner.text.strip(" \t\n\r")
        if not text.startswith(("{", "[", BLOCK)):
            return False
        trial = _Placer(self.shared)
        try:
            end = trial.run(inner, scan.START_INNER, level + 1, facts)
            is_json = not end.quoted and scan.Expect.NOTHING in end.expects
        except Unplaceable as exc:
            if exc.is_deep:
                raise Unplaceable(spot.fault(exc.fault.code, exc.fault.message), is_deep=True) from None
            is_json = False
        if not is_json:
            if '"' in text and text.startswith("{") and text.endswith("}"):
                self.broken.append(spot)
            return False
        if trial.places and level + 1 > LEVELS_MAX:
            message = f"JSON in strings is nested deeper than {LEVELS_MAX} levels"
            raise Unplaceable(spot.fault(TOO_DEEP, message), is_deep=True)
        for item, place in trial.places.items():
            self._put(item, place)
        for words in leaves_in(inner.items):
            if isinstance(words, Words):
                self._drop(words)
        if trial.broken:
            self.broken.append(spot)
        return True

    # Blocks

    def _block(self, sketch: Sketch, item: Inner, state: State, level: int, facts: Facts) -> State:
        def run(body: Body, begin: State, known: Facts) -> State:
            return self._body(sketch, body, begin, level, known)

        # 1. two branches, 2. a loop or a section, 3. a partial, 4. a partial inside itself, 5. a partial to be chosen
        if isinstance(item, Branch | With):
            taken = verdict(item.condition, item.zero_holds, facts) if isinstance(item, Branch) else None
            ways = [item.then, item.otherwise] if taken is None else [item.then if taken else item.otherwise]
            ends = [run(ways[0], state, facts)]
            for body in ways[1:]:
                try:
                    ends.append(run(body, state, facts))
                except Unplaceable:  # a quote or bracket that a branch opens says more than what that breaks
                    if (ends[0].quoted, ends[0].open) != (state.quoted, state.open):
                        _join(item, [*ends, state])
                    raise
            return _join(item, ends)
        if isinstance(item, Loop):
            return self._loop(sketch, item, state, level, facts)
        if isinstance(item, Include):
            return self._include(sketch, item, state, level, facts)
        if isinstance(item, Again):
            return self._again(item, state, level)
        return self._choice(sketch, item, state, level, facts)

    def _body(self, sketch: Sketch, body: Body, state: State, level: int, facts: Facts) -> State:
        frames = self.shared.frames.get(body)
        if frames is None:
            frames = self.shared.frames[body] = frozenset(frames_in(body))
        relevant = tuple(fact for fact in facts if fact[0] in frames)
        key = (body, sketch.decodes, state, relevant)
        if key not in self.known:
            self.known[key] = self.run(sketch_of(body, sketch.decodes, sketch.string), state, level, relevant)
        return self.known[key]

    def _loop(self, sketch: Sketch, item: Loop, state: State, level: int, facts: Facts) -> State:
        def run(begin: State, turn: Turn) -> State:
            return self._body(sketch, item.then, begin, level, (*facts, (item.frame, turn)))

        taken = verdict(item.value, None, facts) if item.is_section and is_first_or_last(item.value) else None
        if taken:
            return run(state, Turn.NONE)
        ends = [self._body(sketch, item.otherwise, state, level, facts)]
        if taken is False:
            return ends[0]
        if item.is_section:
            ends.append(run(state, Turn.NONE))
        ends.append(run(state, Turn.ONLY))
        begun = run(state, Turn.FIRST)
        self.turns += 1
        while (again := _join(item, [begun, run(begun, Turn.MIDDLE)])) != begun:
            begun = again
        ends.append(run(begun, Turn.LAST))
        self.turns -= 1
        return _join(item, ends)

    def _include(self, sketch: Sketch, item: Include, state: State, level: int, facts: Facts) -> State:
        self.entered[item] = (state, level)
        end = self._body(sketch, item.body, state, level, facts)
        if item in self.repeated and end != (state if state.quoted else state.after_value()):
            message = f"{item.label} includes itself, so it must be one JSON value or stand in a string"
            raise Unplaceable(item.spot.fault(BRANCHES, message))
        return end

    def _again(self, item: Again, state: State, level: int) -> State:
        """A partial inside itself; that it is a value, or text, is seen when it ends."""
        entry, entry_level = self.entered.get(item.target, (state, level))
        self.repeated.add(item.target)
        is_same = level == entry_level and state.quoted == entry.quoted
        if not is_same or not (state.quoted or scan.takes_value(state)):
            message = f"{item.target.label} includes itself in another context than it is included in"
            raise Unplaceable(item.spot.fault(BRANCHES, message, hint="include it where a JSON value may stand"))
        return state if state.quoted else state.after_value()

    def _choice(self, sketch: Sketch, item: Choice, state: State, level: int, facts: Facts) -> State:
        """The partials that cannot stand here are taken out; to choose one of them is an error when it is rendered."""
        ends: list[State] = []
        faults: list[Unplaceable] = []
        turns = self.turns
        for name, option in (("", item.otherwise), *item.options.items()):
            if option is None:
                continue
            try:
                end = self._block(sketch, option, state, level, facts)
                if (end.open, end.quoted) != (state.open, state.quoted):
                    message = f"the partial {shown(name)} cannot stand here: {scan.differ_text(state, end)}"
                    raise Unplaceable(item.spot.fault(BRANCHES, message, hint=_SAME))
                ends = [_join(item, [*ends, end])]
            except Unplaceable as exc:
                if exc.is_deep or not name:
                    raise
                self.turns = turns
                item.unfit.add(name)
                faults.append(exc)
        if not ends:
            raise (
                faults[0] if faults else Unplaceable(item.spot.fault(BRANCHES, f"no partial can stand at {item.label}"))
            )
        return ends[0]


def _located(sketch: Sketch, problem: NotJson, *, hint: str = "") -> Unplaceable:
    spot = sketch.spot(problem.start, problem.end)
    fault = spot.fault(problem.code, problem.message, hint=hint or problem.hint)
    return Unplaceable(fault, is_deep=isinstance(problem, TooDeep))


def _join(item: Inner, ends: Sequence[State]) -> State:
    """The state after a block whose ways end in these. Raises Unplaceable."""
    joined = ends[0]
    for end in ends[1:]:
        if not scan.can_join(joined, end):
            is_bare = isinstance(item, Branch | With | Loop) and not item.otherwise.statements
            hint = _SAME if joined.quoted != end.quoted or joined.open != end.open else _OTHERWISE if is_bare else ""
            what = "the turns" if isinstance(item, Loop) else "the branches"
            label = item.label if not isinstance(item, Again) else ""
            message = f"{what} of {label} end in different contexts: {scan.differ_text(joined, end)}"
            raise Unplaceable(item.spot.fault(BRANCHES, message, hint=hint))
        joined = scan.join(joined, end)
    return joined
