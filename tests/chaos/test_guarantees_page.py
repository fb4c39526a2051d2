"""docs/guarantees.md names every chaos test, and none that there is not. Not itself of the chaos suite."""

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "guarantees.md"


def test_the_page_names_every_chaos_test_and_no_other() -> None:
    rows = re.findall(r"^\| `(test_\w+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    sources = [path.read_text(encoding="utf-8") for path in HERE.glob("test_chaos_*.py")]
    tests = [
        name
        for source in sources
        for name in re.findall(r"^ *(?:def )?(test_\w+)(?:\(| = )", source, flags=re.MULTILINE)
    ]

    assert sorted(rows) == sorted(tests)


def test_every_chaos_test_is_left_out_of_the_ordinary_run() -> None:
    """By its marker, with a timeout of its own."""
    for path in HERE.glob("test_chaos_*.py"):
        assert "pytestmark = [pytest.mark.chaos, pytest.mark.timeout(" in path.read_text(encoding="utf-8"), path.name
