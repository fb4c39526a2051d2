"""The fourteen properties of plan and apply, and that each has tests: `pytest -k property_NN` runs those of one."""

import re
from pathlib import Path

PROPERTIES = {
    1: "A plan after its apply is empty; a second apply writes nothing.",
    2: "Apply makes live what was declared, and leaves byte for byte what is not owned.",
    3: "A crash at any write leaves the old state or the new one; the dispatcher serves one whole generation.",
    4: "Applies at the same time serialise: one wins from each base, the others are stale; a plan is consumed once.",
    5: "A plan is a pure function: the same bytes whatever the file order, hash seed, locale, time zone, workers.",
    6: "A diff is sound and complete: applied to what was, it gives what will be; no change means equal digests.",
    7: "No part of a secret comes out of any command, log, file or report, in any form.",
    8: "Markdown and annotations keep to their size and are whole, and nothing in them breaks out.",
    9: "fmt is idempotent and keeps meaning and comments; what is exported plans empty.",
    10: "Renames in chains and swaps, edited or not, keep identity: history and deliveries follow.",
    11: "Guards are monotone: more deletes never turn a refusal into a pass; an empty set is always refused.",
    12: "What the loader takes means the same to other YAML parsers; bombs are bounded.",
    13: "A fault is told at the very token that is wrong.",
    14: "After a rollback, planning the manifests of that revision is empty.",
}


def test_every_property_has_a_test_that_is_named_after_it() -> None:
    """By its number, from 01 to 14."""
    names = {
        name
        for file in Path(__file__).parents[1].rglob("test_*.py")
        for name in re.findall(r"def (test_property_\d\d_\w+)\(", file.read_text("utf-8"))
    }

    assert {int(name.split("_")[2]) for name in names} == set(PROPERTIES)
