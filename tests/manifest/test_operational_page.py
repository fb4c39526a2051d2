"""docs/operational-events.md says what is so: its manifest is valid, its event is one, its table is complete."""

import re
from pathlib import Path

from reconciler import jsontext
from reconciler.manifest.load import load_manifests
from reconciler.models.corpus import complete_event
from reconciler.models.event import judge_payload
from reconciler.models.webhook import Trigger

PAGE = (Path(__file__).parents[2] / "docs" / "operational-events.md").read_text("utf-8")


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def test_its_manifest_is_valid(tmp_path: Path) -> None:
    """As people copy it."""
    file = tmp_path / "tell-operators.yaml"
    file.write_text(block("yaml"), "utf-8")

    assert load_manifests([file]).problems == ()


def test_its_event_is_one_with_every_field() -> None:
    """Those that the schema has, as the built-in event has them."""
    event = judge_payload(jsontext.loads(block("json")))

    known = complete_event(Trigger.WEBHOOK_FAILING)["data"]
    assert event["data"].keys() == known.keys()
    for name in ("webhook", "last_attempt"):
        assert event["data"][name].keys() == known[name].keys()


def test_its_table_names_every_trigger() -> None:
    own = {trigger.value for trigger in Trigger if trigger.is_operational}

    assert set(re.findall(r"^\| `(Reconciler\w+)` \|", PAGE, re.MULTILINE)) == own
