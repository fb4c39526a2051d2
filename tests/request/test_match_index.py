"""The index of webhooks: never wrong, only ever too wide, and as fast with many webhooks as with few."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_match_laws import all_filters, event_of, globs, json_values, requests, texts

from reconciler.models.event import make_event
from reconciler.models.webhook import Trigger, Webhook
from reconciler.request.condition import MatchState
from reconciler.request.fact import facts_of
from reconciler.request.glob import Part, list_holds, literal_of
from reconciler.request.index import SEARCHED_MAX_CHARACTERS, Entry, MatchIndex

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
WHENS = ("true", "false", "size(data.access_groups) > 0", "data.requester.name == 'a'", "has(data.grantee)", "1 +")


def webhook_of(name: str, **spec: Any) -> Webhook:
    body = {"url": "https://example.com/", "triggers": ["RequestCreated"], **spec}
    return Webhook.model_validate({"metadata": {"name": name}, "spec": body}, strict=False)


def index_of(*webhooks: Webhook) -> MatchIndex[str]:
    """With an index, however few they are."""
    return MatchIndex([(Entry.of(webhook), webhook.name) for webhook in webhooks], few=0)


@st.composite
def all_webhooks(draw: st.DrawFn) -> list[Webhook]:
    specs = draw(
        st.lists(
            st.fixed_dictionaries(
                {"filters": all_filters()},
                optional={
                    "when": st.sampled_from(WHENS),
                    "status": st.sampled_from(("active", "inactive")),
                    "triggers": st.lists(st.sampled_from(Trigger), min_size=1, max_size=3, unique=True),
                },
            ),
            max_size=8,
        )
    )
    return [webhook_of(f"hook-{number}", **spec) for number, spec in enumerate(specs)]


@given(all_webhooks(), st.one_of(requests(), json_values), st.sampled_from(("AccessRequestCreated", "Manual", "Other")))
def test_the_index_finds_what_asking_every_webhook_finds(webhooks: list[Webhook], said: Any, kind: str) -> None:
    """The same verdicts, in the order of the webhooks."""
    facts = facts_of(make_event({"event_type": kind, "data": said}, b""))
    judged = [(webhook.name, Entry.of(webhook).matcher.judge(facts)) for webhook in webhooks]

    found = list(index_of(*webhooks).judge(facts))

    assert list(MatchIndex([(Entry.of(webhook), webhook.name) for webhook in webhooks]).judge(facts)) == found
    assert found == [(name, verdict) for name, verdict in judged if verdict.state is not MatchState.NO]


@given(st.text("ab/*?\\!", min_size=1, max_size=6), texts)
def test_what_is_known_of_a_glob_is_true_of_every_text_that_it_matches(glob: str, text: str) -> None:
    """Else the index would miss a webhook."""
    known = literal_of(glob)
    if glob.startswith("!") or known is None or not list_holds((glob,), (text,)):
        return

    part, literal = known

    assert {
        Part.WHOLE: text == literal,
        Part.BEGIN: text.startswith(literal),
        Part.END: text.endswith(literal),
        Part.INNER: literal in text,
    }[part]
    assert literal or part is Part.WHOLE


@pytest.mark.parametrize(
    ("glob", "known"),
    [
        ("db-prod", (Part.WHOLE, "db-prod")),
        ("db-*", (Part.BEGIN, "db-")),
        ("*-prod", (Part.END, "-prod")),
        ("db-*-prod", (Part.END, "-prod")),
        ("db?prod", (Part.END, "prod")),
        ("*orders*", (Part.INNER, "orders")),
        ("*a*orders?b*", (Part.INNER, "orders")),
        ("?a?", (Part.INNER, "a")),
        (r"a\*b", (Part.WHOLE, "a*b")),
        (r"\!a*", (Part.BEGIN, "!a")),
        (r"*\*", (Part.END, "*")),
        (r"a\b*", (Part.BEGIN, r"a\b")),
        ("*", None),
        ("**", None),
        ("?", None),
        ("", (Part.WHOLE, "")),
    ],
)
def test_a_glob_is_known_by_its_longest_literal_part(glob: str, known: tuple[Part, str] | None) -> None:
    """An end or a beginning before what is inside, which is dearer to look for."""
    assert literal_of(glob) == known


def test_webhooks_are_found_by_the_list_that_tells_most_of_them_apart() -> None:
    """All want the type; each wants another name, and that is what they stand under."""
    index = index_of(
        *(
            webhook_of(
                f"hook-{number:02}", filters={"integration": {"type": ["Postgresql"], "name": [f"*-{number:02}"]}}
            )
            for number in range(50)
        )
    )
    said = {"access_groups": [{"integration": {"type": "Postgresql", "name": "db-07"}}]}

    assert index.candidates(facts_of(event_of(said))) == [7]


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"requester": ["a@x", "b@x"]}, {"requester": {"email": "b@x"}}),
        ({"requester": ["!a@x"]}, {"requester": {"email": "b@x"}}),
        ({"requester": ["*", "a@x"]}, {"requester": {"email": "b@x"}}),
        ({"approval": "automatic"}, {}),
        ({"custom_fields": {"team": ["i*"]}}, {"custom_fields": {"team": ["sre", "iam"]}}),
        ({"resource": ["*x*"]}, {"access_groups": [{"access_units": [{"resource": {"path": "a/x/b"}}]}]}),
        (
            {"resource": ["*needle*"]},
            {"access_groups": [{"access_units": [{"resource": {"path": f"{'x' * 5000}needle"}}]}]},
        ),
        ({"resource_type": ["post*"]}, {"access_groups": [{"resource_types": [{"id": "postgresql-database"}]}]}),
    ],
)
def test_a_webhook_is_found_by_any_kind_of_filter(filters: dict[str, Any], said: dict[str, Any]) -> None:
    """Positives under any of their values; negatives and stars alone under none, so they are asked every time."""
    index = index_of(webhook_of("other", filters={"requester": ["nobody"]}), webhook_of("hook", filters=filters))

    assert [name for name, _ in index.judge(facts_of(event_of(said)))] == ["hook"]


def test_in_a_very_long_text_no_part_is_searched() -> None:
    """Whoever asks for a part of such a text is asked himself, since searching would cost more."""
    index = index_of(webhook_of("hook", filters={"requester": ["*needle*"]}))
    long, short = "x" * (SEARCHED_MAX_CHARACTERS + 1), "x" * SEARCHED_MAX_CHARACTERS

    found = [index.candidates(facts_of(event_of({"requester": {"name": name}}))) for name in (long, short)]

    assert found == [[0], []]
    assert not list(index.judge(facts_of(event_of({"requester": {"name": long}}))))


@given(st.lists(globs, min_size=1, max_size=4), texts)
def test_a_list_asked_twice_says_the_same(items: list[str], text: str) -> None:
    """It is compiled at the first question."""
    holds = Entry.of(webhook_of("hook", filters={"requester": items})).matcher
    facts = facts_of(event_of({"requester": {"name": text}}))

    assert holds.judge(facts) == holds.judge(facts)


def test_the_benchmark_of_matching_runs_with_webhooks_of_every_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1,000 webhooks about as few are asked as of 10; the times are for a quiet machine to tell."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sys.modules.pop("match", None)
    import match

    found = match.run((10, 1_000), events=1)

    assert set(found) == {mix.name for mix in match.MIXES}
    for name, of in found.items():
        assert of[1_000]["candidates"] <= 2 * of[10]["candidates"], name
