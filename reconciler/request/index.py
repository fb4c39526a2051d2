"""Which of many webhooks an event may concern, without asking them all: an index over what their filters name.

Built by `dispatch.live` for each revision. A webhook stands under the values of one of its lists, the most selective
one: a positive glob says how a text that it matches is, begins, ends, or what it holds. So what is found for an event
is every webhook that wants it and a few more; each is then judged by its `Matcher`, so that the index can be too wide
but never wrong. Webhooks without such a list are judged for every event of their triggers. Pure.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final, Generic, TypeVar

from reconciler.models.webhook import Filters, Globs, IntegrationFilter, Trigger, Webhook
from reconciler.request.condition import MatchState, Verdict
from reconciler.request.fact import Facts
from reconciler.request.glob import Part, literal_of, positives
from reconciler.request.match import Matcher, compile_match

FEW: Final = 16  # so many webhooks are asked in the time that an index takes to choose among them
SEARCHED_MAX_CHARACTERS: Final = 1024  # in a longer text no part is looked for: who asks for one counts as found

Key = tuple[Part, str]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One webhook, compiled: its matcher, and for each list that names something the field with what it names."""

    matcher: Matcher
    lists: tuple[tuple[str, tuple[Key, ...]], ...]

    @classmethod
    def of(cls, webhook: Webhook) -> "Entry":
        """The entry of a webhook; it depends on nothing but the webhook's document."""
        return cls(compile_match(webhook), tuple(_lists(webhook.spec.filters)))

    def best(self, popularity: Counter[tuple[str, Key]]) -> tuple[str, tuple[Key, ...]] | None:
        """The list under whose values fewest webhooks stand; None without one. Of equal ones, the cheapest to find."""
        ranked = [
            (sum(popularity[name, key] for key in keys), max(part for part, _ in keys), number)
            for number, (name, keys) in enumerate(self.lists)
        ]
        return self.lists[min(ranked)[2]] if ranked else None


class MatchIndex(Generic[T]):
    """Items with their entries; what is found comes in the order in which they were given. Of up to `few` items all are
    asked."""

    def __init__(self, items: Sequence[tuple[Entry, T]], *, few: int = FEW) -> None:
        self._items = items
        self._triggers: dict[Trigger, _Concerned] = {trigger: _Concerned() for trigger in Trigger}
        popularity = Counter((name, key) for entry, _ in items for name, keys in entry.lists for key in keys)
        for position, (entry, _) in enumerate(items):
            best = entry.best(popularity) if len(items) > few else None
            for trigger in entry.matcher.triggers:
                self._triggers[trigger].add(position, best)

    def judge(self, facts: Facts) -> list[tuple[T, Verdict]]:
        """Every item that wants the event, or cannot tell."""
        found = []
        for position in self.candidates(facts):
            entry, item = self._items[position]
            verdict = entry.matcher.judge(facts)
            if verdict.state is not MatchState.NO:
                found.append((item, verdict))
        return found

    def candidates(self, facts: Facts) -> list[int]:
        """The positions of items that may want the event, in order."""
        if facts.trigger is None:
            return []
        concerned = self._triggers[facts.trigger]
        return sorted(concerned.find(facts)) if concerned.is_selective else concerned.always


@dataclass(slots=True)
class _Concerned:
    """The webhooks of one trigger."""

    always: list[int] = field(default_factory=list)
    fields: dict[str, "_Values"] = field(default_factory=dict)
    custom_fields: dict[str, "_Values"] = field(default_factory=dict)

    @property
    def is_selective(self) -> bool:
        """Whether what an event says rules out any of them."""
        return bool(self.fields or self.custom_fields)

    def add(self, position: int, keys_of_list: tuple[str, tuple[Key, ...]] | None) -> None:
        if keys_of_list is None:
            self.always.append(position)
            return
        name, keys = keys_of_list
        custom = name.removeprefix(_CUSTOM)
        values = (self.fields if custom == name else self.custom_fields).setdefault(custom, _Values())
        for part, literal in keys:
            values.add(position, part, literal)

    def find(self, facts: Facts) -> set[int]:
        found = set(self.always)
        for name, values in self.fields.items():
            for text in _texts(facts, name):
                values.find(text, found)
        if self.custom_fields:
            for key, texts in facts.custom_fields.items():
                named = self.custom_fields.get(key)
                if named is not None:
                    for text in texts:
                        named.find(text, found)
        return found


class _Values:
    """What webhooks name of one field. Parts stand by their length, of which there are few."""

    __slots__ = ("_parts", "_whole")

    def __init__(self) -> None:
        self._whole: dict[str, list[int]] = {}
        self._parts: tuple[dict[int, dict[str, list[int]]], ...] = ({}, {}, {})

    def add(self, position: int, part: Part, literal: str) -> None:
        named = self._whole if part is Part.WHOLE else self._parts[part - 1].setdefault(len(literal), {})
        named.setdefault(literal, []).append(position)

    def find(self, text: str, found: set[int]) -> None:
        """Add the positions of those that may name the text."""
        found.update(self._whole.get(text, ()))
        begins, ends, inner = self._parts
        for length, named in begins.items():
            found.update(named.get(text[:length], ()))
        for length, named in ends.items():
            found.update(named.get(text[-length:], ()))
        for length, named in inner.items():
            if len(text) > SEARCHED_MAX_CHARACTERS:
                found.update(position for positions in named.values() for position in positions)
                continue
            for start in range(len(text) - length + 1):
                found.update(named.get(text[start : start + length], ()))


# --- fields


_CUSTOM: Final = "custom_fields."
_GROUP_FIELDS: Final = ("integration_id", "integration_name", "integration_type")
_UNIT_FIELDS: Final = ("resource", "permission")


def _lists(filters: Filters) -> Iterator[tuple[str, tuple[Key, ...]]]:
    """The lists of which an event must say something that is known."""
    integration = filters.integration or IntegrationFilter()
    globs_of: list[tuple[str, Globs]] = [
        ("integration_id", integration.id),
        ("integration_name", integration.name),
        ("integration_type", integration.type),
        ("resource_type", filters.resource_type),
        ("resource", filters.resource),
        ("permission", filters.permission),
        ("requester", filters.requester),
        ("grantee", filters.grantee),
        ("access_flow", filters.access_flow),
        ("access_bundle", filters.access_bundle),
        *((f"{_CUSTOM}{key}", globs) for key, globs in filters.custom_fields.items()),
    ]
    if filters.approval is not None:
        yield "approval", ((Part.WHOLE, filters.approval.value),)
    for name, globs in globs_of:
        keys = _keys(globs) if globs else None
        if keys:
            yield name, keys


def _keys(globs: Globs) -> tuple[Key, ...] | None:
    """What a list's positive globs name; None where one of them may match anything, or there are none."""
    known = [literal_of(glob) for glob in dict.fromkeys(positives(globs))]
    keys = tuple(key for key in known if key is not None)
    return tuple(sorted(set(keys), key=itemgetter(0))) if len(keys) == len(known) else None


def _texts(facts: Facts, name: str) -> Iterable[str]:
    """Everything that an event says of a field, whichever group it says it of."""
    if name == "approval":
        return (facts.approval.value,)
    if name in _GROUP_FIELDS:
        return {text for group in facts.groups for text in getattr(group, name)}
    if name == "resource_type":
        return {text for group in facts.groups for kind in group.resource_types for text in kind}
    if name in _UNIT_FIELDS:
        return {text for group in facts.groups for unit in group.units for text in getattr(unit, name)}
    identities: tuple[str, ...] = getattr(facts, name)
    return identities
