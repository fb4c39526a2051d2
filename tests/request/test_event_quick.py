"""A quick look at an event takes only what the model takes, and takes nearly all of that."""

from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError
from test_match_laws import json_values, requests

from reconciler import jsontext
from reconciler.models.event import AccessRequestEvent, AnyEvent, EventProblem, judge_payload, make_event
from reconciler.models.operational import OperationalEvent
from reconciler.models.payload import Tolerant, quick_check

SAMPLES = sorted(Path("tests/data/events").glob("*.json"))
MODELS = (AccessRequestEvent, AnyEvent, OperationalEvent)
EVENT = quick_check(AccessRequestEvent)


def takes(model: type[Tolerant], value: Any) -> bool:
    try:
        model.model_validate(as_tuples(value))
    except ValidationError:
        return False
    return True


def as_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: as_tuples(item) for key, item in value.items()}
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value


@st.composite
def payloads(draw: st.DrawFn) -> Any:
    """Events with something of any kind in any place."""
    kinds = st.sampled_from(["RequestCreated", "", 1, None])
    keys = {"event_type": kinds, "event_time": json_values, "data": requests() | json_values}
    return draw(st.fixed_dictionaries({}, optional=keys) | json_values)


@given(payloads(), st.sampled_from(MODELS))
def test_the_model_takes_what_the_quick_look_takes(payload: Any, model: type[Tolerant]) -> None:
    """Law, over values of every shape; what holds a lone surrogate is not looked at quickly."""
    value, canonical = jsontext.read(jsontext.dumps(payload))

    assert canonical is None or takes(model, value) or not quick_check(model)(value)


@given(requests())
def test_an_event_is_judged_the_same_quickly_or_not(data: dict[str, Any]) -> None:
    """With the same words where it is none, and under the same fingerprint."""
    text = jsontext.dumps({"event_type": "RequestCreated", "data": data}).encode()
    value, canonical = jsontext.read(text)
    outcomes = []
    for known in (canonical, None):
        try:
            judged = judge_payload(value, is_utf8=known is not None)
            outcomes.append(make_event(judged, text, canonical=known).fingerprint)
        except EventProblem as exc:
            outcomes.append(f"{exc}")

    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_quick_look_is_enough_for_the_sample_events(path: Path) -> None:
    """So the slow way is for what is no event."""
    assert EVENT(jsontext.loads(path.read_bytes()))


class Constrained(Tolerant):
    """Fields that a quick look cannot judge, and one that is required."""

    short: str | None = Field(None, max_length=1)
    noted: Annotated[str, Field(max_length=1)] | None = None
    mixed: tuple[int, str] | None = None
    needed: str


@pytest.mark.parametrize("value", [{"short": "a"}, {"noted": "a"}, {"mixed": [1, "a"]}, {}])
def test_of_what_it_does_not_know_a_quick_look_is_not_sure(value: dict[str, Any]) -> None:
    """A constraint that is added to the schema is judged by the model, until the look knows it."""
    assert not quick_check(Constrained)({**({"needed": ""} if value else {}), **value})
    assert quick_check(Constrained)({"needed": "", "unknown": {"a": 1}})
