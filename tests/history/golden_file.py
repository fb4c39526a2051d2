"""Texts that people see, as files under golden/. RECONCILER_GOLDEN=write rewrites them."""

import os
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def check_golden(name: str, text: str) -> None:
    """Compare with the file of that name."""
    file = GOLDEN / name
    if os.environ.get("RECONCILER_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")
    assert text == file.read_text("utf-8")
