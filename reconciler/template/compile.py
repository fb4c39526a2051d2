"""Templates into functions: constants and closures, one for each expression; no text of a template becomes code.

`compile_template` is the package's entry; `body` compiles the bodies of webhooks with what stands here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal

from reconciler.errors import SecretError, TemplateError
from reconciler.jsontext import JsonValue
from reconciler.template.effect import faults_without_effect, root_path
from reconciler.template.fault import Source, TemplateFault, shown
from reconciler.template.lookup import Find, finder
from reconciler.template.output import (
    OUTPUT_MAX_BYTES,
    OutputTooLargeError,
    Write,
    html_text,
    json_writer,
    plain_text,
)
from reconciler.template.parse import parse
from reconciler.template.place import Layout, Node, document_layout, nodes_of
from reconciler.template.syntax import Mustache, Partial, Secret, Text

Escape = Literal["json", "html", "none"]
COMPILED_MAX: Final = 16_384  # templates kept compiled: more than one store has webhooks, some 5 KB each
NO_NAMES: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Hole:
    """One expression, compiled: where its value is found and how it is written; a secret has a name instead."""

    write: Write
    find: Find | None
    secret: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template: literal text and holes in order."""

    pieces: tuple[str | Hole, ...]

    def render(self, context: JsonValue, secrets: Mapping[str, str] = NO_NAMES) -> str:
        """The template's text for one event; `secrets` gives the values of `${secret:name}`.

        Raises SecretError for a name without a value, and TemplateError, with the expression's position, for a value
        that cannot be written and for output over OUTPUT_MAX_BYTES.
        """
        parts: list[str] = []
        size = 0
        for piece in self.pieces:
            text = piece if isinstance(piece, str) else _fill(piece, context, secrets)
            parts.append(text)
            size += len(text)
            if size > OUTPUT_MAX_BYTES:
                raise _too_large()
        text = "".join(parts)
        if size * 4 > OUTPUT_MAX_BYTES and len(text.encode("utf-8", "surrogatepass")) > OUTPUT_MAX_BYTES:
            raise _too_large()
        return text


def _fill(hole: Hole, context: JsonValue, secrets: Mapping[str, str]) -> str:
    if hole.find is None and hole.secret not in secrets:
        raise SecretError(f"the secret has no value: {hole.secret}", name=hole.secret)
    try:
        return hole.write(hole.find(context) if hole.find else secrets[hole.secret])
    except OutputTooLargeError:
        raise _too_large() from None
    except (TypeError, ValueError, RecursionError) as exc:
        reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise TemplateError(f"a value cannot be written: {reason}", line=hole.line, column=hole.column) from None


def _too_large() -> TemplateError:
    return TemplateError(f"the body is larger than {OUTPUT_MAX_BYTES:,} bytes", hint="send fewer fields")


def compile_template(source: str, *, escape: Escape = "json", partials: Mapping[str, str] = NO_NAMES) -> Template:
    """The compiled template; the same for the same text and escape. Raises TemplateError for its first fault.

    With `json` an expression is escaped for where it stands and the text must be JSON; with `html` and `none` it is
    Handlebars as JavaScript has it, `{{x}}` escaped or not. `partials` are the texts that `{{> name}}` may name.
    """
    try:
        return _compiled(source, escape)
    except TemplateError:
        _refuse_unknown_partials(source, partials)
        raise


def _refuse_unknown_partials(source: str, partials: Mapping[str, str]) -> None:
    """Raise TemplateError for the first partial that is not among those given, where nothing else is wrong."""
    parsed = parse(source)
    for node in () if parsed.faults else parsed.program.body:
        name = source[node.call.callee.start : node.call.callee.end] if isinstance(node, Partial) else None
        if name is not None and name not in partials:
            line, column = parsed.source.locate(node.start)
            hint = f"the partials are: {', '.join(sorted(partials))}" if partials else "there are no partials"
            raise TemplateError(f"no such partial: {shown(name)}", line=line, column=column, hint=hint)


def usable_nodes(source: str) -> tuple[Source, tuple[Node, ...]]:
    """The literal text and expressions of a template without syntax faults, all of which have effect.

    Raises TemplateError for the first fault.
    """
    parsed = parse(source)
    refuse(parsed.faults or faults_without_effect(parsed))
    nodes = nodes_of(parsed.program)
    assert nodes is not None  # blocks and partials have no effect
    return parsed.source, nodes


def refuse(faults: tuple[TemplateFault, ...]) -> None:
    """Raise TemplateError for the first of these faults, if there is one."""
    for fault in faults:
        raise fault.as_error()


def json_pieces(source: Source, layout: Layout) -> tuple[str | Hole, ...]:
    """A JSON template's literal text, as it stands, and its holes. Raises TemplateError where it is not JSON."""
    refuse(layout.errors)
    places = iter(layout.places)
    return tuple(
        node.value if isinstance(node, Text) else hole(source, node, json_writer(next(places))) for node in layout.nodes
    )


def hole(source: Source, node: Mustache | Secret, write: Write) -> Hole:
    """One expression or secret with the function that writes it."""
    line, column = source.locate(node.start)
    if isinstance(node, Secret):
        return Hole(write, None, node.name, line, column)
    path = root_path(node.call.callee)
    assert path is not None  # everything else has no effect
    segments = path.segments[1:] if path.is_data else path.segments  # @root
    return Hole(write, finder(tuple(segment.name for segment in segments)), "", line, column)


@lru_cache(maxsize=COMPILED_MAX)
def _compiled(source: str, escape: Escape) -> Template:
    origin, nodes = usable_nodes(source)
    if escape == "json":
        return Template(json_pieces(origin, document_layout(origin, nodes)))
    write = html_text if escape == "html" else plain_text
    return Template(
        tuple(
            node.value
            if isinstance(node, Text)
            else hole(origin, node, plain_text if isinstance(node, Mustache) and not node.is_escaped else write)
            for node in nodes
        )
    )
