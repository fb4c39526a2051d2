"""Texts that look alike and are not the same: a reviewer must see what differs."""

import pytest
from plan_samples import Case, desired, hook, live_hook, live_state

from reconciler.cli.view_plan import plan_lines


def changed_lines(old: str, new: str) -> list[str]:
    """What a plan shows of a title, or of a body's lines, that became another."""
    before, after = (
        hook("a", {"title": text}, content_type="text/plain", body_template=f"first\n{text}\nlast\n")
        for text in (old, new)
    )
    case = Case(desired(after), live_state(live_hook(before)))
    shown = [line.plain.strip() for line in plan_lines(case.plan())]
    return [line for line in shown if line.startswith(("~ metadata.title", "- ", "+ "))]


@pytest.mark.parametrize(
    ("old", "new", "title", "went", "came"),
    [
        ("a ", "a", '"a " -> "a"', "a\\x20", "a"),
        ("a\t ", "a  ", '"a\\t " -> "a  "', "a\\x09\\x20", "a\\x20\\x20"),
        ("cafe\u0301", "café", '"cafe\\u0301" -> "café"', "cafe\\u0301", "café"),
        ("nai\u0308f हिन्दी", "naïf हिन्दी", '"nai\\u0308f हिन्दी" -> "naïf हिन्दी"', "nai\\u0308f हिन्दी", "naïf हिन्दी"),
        ("a\u00adb", "ab", '"a\\u00adb" -> "ab"', "a\\u00adb", "ab"),
        ("a\U000e0041b", "ab", '"a\\U000e0041b" -> "ab"', "a\\U000e0041b", "ab"),
    ],
)
def test_what_differs_is_seen(old: str, new: str, title: str, went: str, came: str) -> None:
    """Spaces at a line's end, accents that are characters of their own, characters without a shape. Scripts whose
    letters always have marks stay readable."""
    lines = changed_lines(old, new)

    assert lines == [f"~ metadata.title     = {title}", f"- {went}", f"+ {came}"]
