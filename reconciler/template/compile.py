"""Templates into functions: parsed, resolved, placed in JSON, emitted.

`compile_template` is the package's entry; `body` compiles the bodies of webhooks with what stands here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType, TracebackType
from typing import Any, Final

from reconciler import jsontext
from reconciler.errors import TemplateError
from reconciler.jsontext import JsonValue
from reconciler.template.code import FILE, Render
from reconciler.template.emit import Emitter, Writer
from reconciler.template.fault import HelperError, TemplateFault
from reconciler.template.limit import LimitError
from reconciler.template.output import (
    OUTPUT_MAX_BYTES,
    WRITERS,
    Escape,
    OutputTooLargeError,
    Write,
    json_writer,
    plain_text,
)
from reconciler.template.parse import parse
from reconciler.template.place import Layout, document_layout
from reconciler.template.program import Apply, Body, Context, Hole, SecretHole, Spot, Words
from reconciler.template.resolve import resolve
from reconciler.template.run import PartialError
from reconciler.template.scan import Place

COMPILED_MAX: Final = 16_384  # templates kept compiled: more than one store has webhooks, some 10 KB each
NO_NAMES: Final[Mapping[str, str]] = MappingProxyType({})

_MARK: Final = "\ue000"  # stands for what an event says
_VALUE: Final = Place(0, is_value=True)

Partials = tuple[tuple[str, str], ...]  # names and texts, sorted


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template: a function that gives the pieces of its text, and the place of each of its lines that can
    fail: line, column, what a message begins with, and the helper that is called. `is_surely_json`: its text is JSON
    whatever the event says, which need not be looked at again. `is_in_utf8`: the pieces are bytes."""

    _render: Render
    _places: Mapping[int, tuple[int, int, str, str]]
    is_surely_json: bool = False
    is_in_utf8: bool = False

    def render(self, context: JsonValue, secrets: Mapping[str, str] = NO_NAMES) -> str:
        """The template's text for one event; `secrets` gives the values of `${secret:name}`.

        Raises SecretError for a name without a value, and TemplateError, with the expression's position, for a value
        that cannot be written, for a helper that cannot do with its arguments, and for output, steps or nesting over
        their limits.
        """
        if self.is_in_utf8:
            return self.encode(context, secrets).decode()
        text = "".join(self._pieces(context, secrets))
        if len(text) * 4 > OUTPUT_MAX_BYTES and len(text.encode("utf-8", "surrogatepass")) > OUTPUT_MAX_BYTES:
            raise _too_large()
        return text

    def encode(self, context: JsonValue, secrets: Mapping[str, str] = NO_NAMES) -> bytes:
        """`render` in UTF-8, of a template that `is_in_utf8`."""
        body = b"".join(self._pieces(context, secrets))
        if len(body) > OUTPUT_MAX_BYTES:
            raise _too_large()
        return body

    def _pieces(self, context: JsonValue, secrets: Mapping[str, str]) -> Iterable[Any]:
        try:
            return self._render(context, secrets)
        except (TypeError, ValueError, RecursionError, OutputTooLargeError) as exc:
            raise self._error(exc) from None

    def _error(self, exc: Exception) -> TemplateError:
        """What went wrong, in the words of the template."""
        # 1. too much output, 2. ours, which say it themselves, 3. a value that is nested too deeply or is not JSON
        if isinstance(exc, OutputTooLargeError):
            return _too_large()
        line, column, origin, helper = self._place_of(exc.__traceback__)
        if isinstance(exc, HelperError):
            return TemplateError(f"{origin}`{helper}`: {exc}", line=line, column=column)
        if isinstance(exc, LimitError | PartialError):
            return TemplateError(f"{origin}{exc}", line=line, column=column)
        reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        return TemplateError(f"{origin}a value cannot be written: {reason}", line=line, column=column)

    def _place_of(self, traceback: TracebackType | None) -> tuple[int | None, int | None, str, str]:
        """The place of the generated line that failed, found by the traceback."""
        place: tuple[int | None, int | None, str, str] = (None, None, "", "")
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == FILE:
                place = self._places.get(traceback.tb_lineno, place)
            traceback = traceback.tb_next
        return place


def _too_large() -> TemplateError:
    return TemplateError(f"the body is larger than {OUTPUT_MAX_BYTES:,} bytes", hint="send fewer fields")


def compile_template(source: str, *, escape: Escape = "json", partials: Mapping[str, str] = NO_NAMES) -> Template:
    """The compiled template; the same for the same text, escape and partials. Raises TemplateError for its first fault.

    With `json` an expression is escaped for where it stands and the text must be JSON; with `html`, `form` and `none`
    it is Handlebars as JavaScript has it, `{{x}}` escaped for HTML, percent-encoded or as it is. `partials` are the
    texts that `{{> name}}` may name.
    """
    return _compiled(source, escape, frozen_partials(partials))


def frozen_partials(partials: Mapping[str, str]) -> Partials:
    """Partials as something that can be memoised."""
    return tuple(sorted(partials.items())) if partials else ()


def usable_body(source: str, partials: Mapping[str, str], root: Context) -> Body:
    """The program of a template without faults. Raises TemplateError for the first one."""
    parsed = parse(source)
    refuse(parsed.faults)
    resolved = resolve(parsed, partials, root)
    refuse(resolved.faults)
    return resolved.body


def refuse(faults: Iterable[TemplateFault]) -> None:
    """Raise TemplateError for the first of these faults that is an error."""
    for fault in faults:
        if fault.is_error:
            raise fault.as_error()


def finish(emitter: Emitter, *, is_surely_json: bool = False) -> Template:
    """The template of what has been emitted. Raises TemplateError for what Python cannot compile; the limits on depth
    are there to keep templates from it."""
    try:
        render = emitter.function()
    except (MemoryError, RecursionError, SyntaxError):
        raise TemplateError("the template is nested too deeply") from None
    places = {line: _place(spot, helper) for line, (spot, helper) in emitter.spots.items()}
    return Template(render, places, is_surely_json, emitter.is_in_utf8)


def _place(spot: Spot, helper: str) -> tuple[int, int, str, str]:
    visible = spot.visible
    line, column = visible.site.source.locate(visible.start)
    return line, column, spot.origin, helper


def writer_of(layout: Layout) -> Writer:
    """How each expression of a JSON template is written."""

    def write(hole: Hole | SecretHole) -> Write | None:
        place = layout.places.get(hole)
        if place is not None and place.is_value and isinstance(hole, Hole) and _is_json(hole):
            place = Place(place.levels, is_value=False)  # its text is JSON already
        return None if place is None else json_writer(place)

    return write


def _is_json(hole: Hole) -> bool:
    return isinstance(hole.value, Apply) and hole.value.helper.name == "json"


def _plain_writer(escape: Escape) -> Callable[[Hole | SecretHole], Write]:
    return lambda hole: plain_text if isinstance(hole, Hole) and not hole.is_escaped else WRITERS[escape]


@lru_cache(maxsize=COMPILED_MAX)
def _compiled(source: str, escape: Escape, partials: Partials) -> Template:
    root = Context()
    body = usable_body(source, dict(partials), root)
    emitter = Emitter(root)
    if escape == "json":
        layout = document_layout(body)
        refuse(layout.faults)
        emitter.body(body, writer_of(layout), dropped=layout.dropped)
        return finish(emitter, is_surely_json=_is_surely_json(body, layout))
    emitter.body(body, _plain_writer(escape))
    return finish(emitter)


def _is_surely_json(body: Body, layout: Layout) -> bool:
    """Whether all that an event can change is the text of strings that are no keys: nothing that is there or not, no
    value that could be nested too deeply, no key that could stand twice."""
    parts = []
    for statement in body.statements:
        if isinstance(statement, Words) and statement not in layout.dropped:
            parts.append(statement.text)
        elif isinstance(statement, Hole | SecretHole) and not layout.places.get(statement, _VALUE).is_value:
            parts.append(_MARK)
        else:
            return False
    try:
        return not _has_marked_key(jsontext.loads("".join(parts)))
    except ValueError:
        return False


def _has_marked_key(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return any(_MARK in key or _has_marked_key(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_has_marked_key, value))
