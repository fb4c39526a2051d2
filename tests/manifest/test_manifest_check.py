"""Tests run from manifests as files: what is found is placed at the very leaf, in the test and in the webhook."""

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.manifest.check import Outcome, run_tests
from reconciler.manifest.emit import yaml_text
from reconciler.manifest.load import load_manifests
from reconciler.models.fault import Path as Keys

scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text("ab:# '\"é\u202e\\", max_size=6)
objects = st.dictionaries(
    st.text("ab c.é", min_size=1, max_size=3),
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.", min_size=1, max_size=2), inner),
        max_leaves=5,
    ),
    min_size=1,
    max_size=3,
)
CHANGED = "changed-by-the-test"


def leaves(value: Any, path: Keys = ()) -> list[Keys]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [leaf for key, item in items for leaf in leaves(item, (*path, key))] or [path]


def changed(value: Any, path: Keys) -> Any:
    if not path:
        return CHANGED
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = changed(copied[path[0]], path[1:])
    return copied


def manifests(template: Any, expected: Any, key: str) -> str:
    hook = {"url": "https://hooks.example.com/in", "triggers": ["RequestCreated"], "body_template": template}
    test = {"webhook": "hook", "sample": "RequestCreated", "expect": {key: expected}}
    return "---\n".join(
        yaml_text({"apiVersion": "reconciler/v1", "kind": kind, "metadata": {"name": "hook"}, "spec": spec})
        for kind, spec in (("Webhook", hook), ("WebhookTest", test))
    )


@given(objects, st.data(), st.booleans(), st.sampled_from(["body", "body_contains"]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_leaf_is_placed_where_it_stands(
    tmp_path: Path, body: Any, data: st.DataObject, is_text: bool, key: str
) -> None:
    """The unchanged body passes; of the changed one, line and column lead to the changed word, whatever is around it;
    the webhook's template being a mapping or text."""
    file = tmp_path / "all.yaml"
    template = json.dumps(body, indent=2, ensure_ascii=False) if is_text else body
    path = data.draw(st.sampled_from(leaves(body)))

    file.write_text(manifests(template, body, key), "utf-8")
    (passed,) = run_tests(load_manifests([file], tests=True))
    file.write_text(manifests(template, changed(body, path), key), "utf-8")
    (failed,) = run_tests(load_manifests([file], tests=True))

    assert (passed.outcome, passed.misses) == (Outcome.PASSED, ())
    assert failed.outcome is Outcome.FAILED
    miss = next(miss for miss in failed.misses if miss.finding.expected == CHANGED)
    place = miss.expected_at
    assert place.line is not None and place.column is not None and place.end_column is not None
    row = file.read_text("utf-8").split("\n")[place.line - 1]
    assert row[place.column - 1 : place.end_column - 1] == CHANGED
    if key == "body":
        assert miss.finding.body_keys == path
        assert (miss.written_at.line or 0) < place.line
