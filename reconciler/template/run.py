"""What generated code calls for what is not worth generating. Called by nothing else; see `emit`."""

from collections.abc import Mapping, Sequence

from reconciler.errors import SecretError
from reconciler.jsontext import JsonValue
from reconciler.template.fault import shown


class PartialError(ValueError):
    """The value that names a partial names none that can stand there."""


def secret_of(secrets: Mapping[str, str], name: str) -> str:
    """A secret's value. Raises SecretError."""
    if name not in secrets:
        raise SecretError(f"the secret has no value: {name}", name=name)
    return secrets[name]


def spread(value: JsonValue) -> tuple[Sequence[JsonValue], tuple[str, ...] | None]:
    """What `#each` goes through: items, and the keys of an object, in its own order."""
    if isinstance(value, dict):
        return list(value.values()), tuple(value)
    return (value, None) if isinstance(value, list | tuple) else ((), None)


def unfold(value: JsonValue, context: JsonValue) -> tuple[Sequence[JsonValue], bool]:
    """What a section `{{#x}}` works on, and whether it loops: a list's items, the value itself, or, for true, the
    context that is there; nothing for null and false."""
    if isinstance(value, list | tuple):
        return value, True
    if value is None or value is False:
        return (), False
    return (context if value is True else value,), False


def differ(context: JsonValue, around: JsonValue) -> bool:
    """Whether a context is another value than the one around it, as JavaScript's `!=` has it."""
    if context is around:
        return False
    is_plain = not isinstance(context, dict | list) and not isinstance(around, dict | list)
    return not (is_plain and context == around)


def merge(value: JsonValue, named: Sequence[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    """A partial's context with its hash arguments: the fields of an object, items and characters by their index."""
    if isinstance(value, dict):
        return {**value, **dict(named)}
    items = value if isinstance(value, list | str) else ()
    return {**{str(index): item for index, item in enumerate(items)}, **dict(named)}


def no_partial(name: str, is_known: bool) -> None:
    """Raise PartialError."""
    if is_known:
        raise PartialError(f"the partial {shown(name)} cannot stand here: the JSON would be broken")
    raise PartialError(f"no such partial: {shown(name)}")
