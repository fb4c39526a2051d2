"""Laws of matching, over filters and events of every shape."""

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.models.event import Event, make_event
from reconciler.models.webhook import Approval, Trigger, Webhook
from reconciler.request.glob import list_holds
from reconciler.request.match import judge_match, matches

# A small alphabet, so that globs and texts meet; the rest of Unicode comes in by `st.text()`.
texts = st.text("ab/", max_size=4)
patterns = st.text("ab/*?", max_size=4)
globs = st.one_of(st.text("ab/*?", min_size=1, max_size=4), patterns.map(lambda glob: f"!{glob}"))
lists = st.lists(globs, max_size=3).map(tuple)
scalars = st.one_of(
    st.none(), texts, st.integers(-2, 2), st.booleans(), st.floats(allow_nan=False, allow_infinity=False, width=16)
)
json_values = st.recursive(
    st.one_of(scalars, st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text("ab", max_size=2), inner, max_size=2)),
    max_leaves=6,
)


def missing_or(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Present, null, or of any other type."""
    return st.one_of(strategy, strategy, strategy, st.none(), json_values)


def thing(*keys: str, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return missing_or(st.fixed_dictionaries({}, optional={**{key: missing_or(texts) for key in keys}, **more}))


# As composites, since hypothesis writes strategies out in full where it reports.
@st.composite
def kinds(draw: st.DrawFn) -> Any:
    return draw(thing("id", "name", "display_path"))


@st.composite
def units(draw: st.DrawFn) -> Any:
    return draw(thing(resource=thing("id", "name", "path", type=kinds()), permission=thing("id", "name")))


@st.composite
def groups(draw: st.DrawFn) -> Any:
    integration = thing("id", "name", "type")
    types, access_units = (missing_or(st.lists(each, max_size=2)) for each in (kinds(), units()))
    return draw(thing(integration=integration, resource_types=types, access_units=access_units))


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    keys = {
        "id": texts,
        "requester": thing("id", "name", "email"),
        "grantee": thing("id", "source_id", "name"),
        "access_flow": thing("id", "name"),
        "access_bundle": thing("id", "name"),
        "access_groups": missing_or(st.lists(groups(), max_size=3)),
        "approvals": missing_or(st.lists(thing("name"), max_size=1)),
        "custom_fields": missing_or(st.dictionaries(st.sampled_from("ab"), missing_or(texts), max_size=2)),
    }
    return draw(st.fixed_dictionaries({}, optional=keys))


@st.composite
def group_filters(draw: st.DrawFn) -> dict[str, Any]:
    integration = {name: draw(lists) for name in draw(st.sets(st.sampled_from(("id", "name", "type"))))}
    return {"integration": integration, **{name: draw(lists) for name in ("resource_type", "resource", "permission")}}


@st.composite
def all_filters(draw: st.DrawFn) -> dict[str, Any]:
    return {
        **draw(group_filters()),
        **{name: draw(lists) for name in ("requester", "grantee", "access_flow", "access_bundle")},
        "approval": draw(st.one_of(st.none(), st.sampled_from(Approval))),
        "custom_fields": draw(st.dictionaries(st.sampled_from("ab"), lists, max_size=2)),
    }


def event_of(said: Any) -> Event:
    return make_event({"event_type": "AccessRequestCreated", "data": said}, b"")


def webhook_of(wanted: dict[str, Any], *, name: str = "hook", trigger: Trigger = Trigger.REQUEST_CREATED) -> Webhook:
    return Webhook.model_validate(
        {
            "metadata": {"name": name},
            "spec": {"url": "https://example.com/", "triggers": (trigger,), "filters": wanted},
        },
        strict=False,
    )


@given(all_filters(), st.one_of(requests(), json_values))
def test_any_event_is_judged_and_explained_alike(wanted: dict[str, Any], said: Any) -> None:
    """Whatever is missing, null or of another type: no error, and a match is exactly that every condition held."""
    event, webhook = event_of(said), webhook_of(wanted)

    assert matches(webhook, event) == all(condition.held for condition in judge_match(webhook, event))


@given(all_filters(), requests(), st.randoms(use_true_random=False))
def test_the_order_of_globs_groups_and_keys_is_irrelevant(
    wanted: dict[str, Any], said: Any, rand: random.Random
) -> None:
    """Lists in filters are sets; so are groups, units, types and the keys of custom fields."""
    other = matches(webhook_of(shuffle(wanted, rand)), event_of(shuffle(said, rand)))

    assert matches(webhook_of(wanted), event_of(said)) == other


def shuffle(value: Any, rand: random.Random) -> Any:
    if isinstance(value, dict):
        return {key: shuffle(value[key], rand) for key in rand.sample(list(value), len(value))}
    if isinstance(value, list | tuple):
        return [shuffle(item, rand) for item in rand.sample(list(value), len(value))]
    return value


@given(st.lists(st.tuples(all_filters(), st.sampled_from(Trigger)), max_size=4), all_filters(), requests())
def test_another_webhook_changes_no_match(
    others: list[tuple[dict[str, Any], Trigger]], wanted: dict[str, Any], said: Any
) -> None:
    event, webhook = event_of(said), webhook_of(wanted)
    alone = matches(webhook, event)

    for index, (other, trigger) in enumerate(others):
        matches(webhook_of(other, name=f"other-{index}", trigger=trigger), event)

    assert matches(webhook, event) == alone


@given(patterns, st.lists(texts, max_size=3).map(tuple))
def test_a_negative_is_the_opposite_of_its_positive(glob: str, identities: tuple[str, ...]) -> None:
    assert list_holds((f"!{glob}",), identities) != list_holds((glob,), identities)


@given(lists, patterns, st.lists(texts, max_size=3).map(tuple))
def test_a_further_negative_only_narrows_and_a_further_positive_only_widens(
    wanted: tuple[str, ...], glob: str, identities: tuple[str, ...]
) -> None:
    """Widening holds where there was a positive before; the first one narrows."""
    before = list_holds(wanted, identities)

    assert list_holds((*wanted, f"!{glob}"), identities) <= before
    if any(not item.startswith("!") for item in wanted):
        assert list_holds((*wanted, glob), identities) >= before


@given(group_filters(), st.lists(groups(), min_size=1, max_size=4))
def test_a_request_is_wanted_if_one_of_its_groups_alone_is(wanted: dict[str, Any], several: list[Any]) -> None:
    """Filters hold together in one group or not at all."""
    each = [matches(webhook_of(wanted), event_of({"access_groups": [group]})) for group in several]

    assert matches(webhook_of(wanted), event_of({"access_groups": several})) == any(each)


@given(st.text("ab*?!\\\n", max_size=8), st.text("ab*?!\\\n", max_size=8))
def test_a_glob_agrees_with_its_definition(glob: str, text: str) -> None:
    """The compiled expression against the definition, word for word."""
    if not glob.startswith("!"):
        assert list_holds((glob,), (text,)) == agrees(glob, text)


def agrees(glob: str, text: str) -> bool:
    if not glob:
        return not text
    if glob[0] == "*":
        return any(agrees(glob[1:], text[index:]) for index in range(len(text) + 1))
    if not text:
        return False
    if glob[0] == "?":
        return agrees(glob[1:], text[1:])
    if glob[0] == "\\" and glob[1:2] and glob[1] in "*?!\\":
        glob = glob[1:]
    return glob[0] == text[0] and agrees(glob[1:], text[1:])


@given(st.text(), st.text())
def test_an_escaped_text_matches_itself_only(text: str, other: str) -> None:
    """Every text can be asked for literally."""
    escaped = "".join(f"\\{character}" if character in "*?!\\" else character for character in text)

    assert list_holds((escaped,), (text,))
    assert list_holds((escaped,), (other,)) == (text == other)
