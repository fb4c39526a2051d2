"""The page on `doctor` tells of every code that there is, and of no other."""

import re
from pathlib import Path

from reconciler.dispatch import diagnose, doctor
from reconciler.models.delivery import Fault
from reconciler.store.sqlite import examine
from reconciler.store.sqlite.rule import RULES

ROOT = Path(__file__).parents[2]
CODE = r"(?:store|file|daemon|queue|backlog|webhook|apply|event|secret|receiver|clock|audit)\.[a-z_]+"


def test_the_page_lists_every_code() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text("utf-8")
    rows = "\n".join(line for line in page.splitlines() if line.startswith("| `"))
    code = "".join(Path(module.__file__ or "").read_text("utf-8") for module in (diagnose, doctor, examine))
    faults = (Fault.DNS, Fault.REFUSED_ADDRESS, Fault.CONNECT, Fault.CONNECT_TIMEOUT, Fault.TLS)

    expected = set(re.findall(rf'"({CODE})"', code)) | {f"store.{rule.code}" for rule in RULES}
    expected |= {f"receiver.{fault.value}" for fault in faults}
    expected |= {"audit.unreadable"}  # a check that cannot be read to its end, by its name
    expected |= {f"store.{found}" for found in re.findall(r'Broken\("([a-z]+)"', code)}

    assert set(re.findall(rf"`({CODE})`", rows)) == expected
