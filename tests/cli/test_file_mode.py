"""What commands write under the loosest umask: whatever holds events, plans or tokens is its owner's alone."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MANIFEST = """\
apiVersion: reconciler/v1
kind: Webhook
metadata: {name: hook}
spec: {url: https://hooks.example.com/in, triggers: [RequestCreated]}
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    old = os.umask(0)
    yield
    os.umask(old)


def modes_of(folder: Path, pattern: str = "*") -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob(pattern)}


def serve(reconciler: Run) -> str:
    """A daemon that ends at once; what it said."""
    return reconciler("run", "--listen", "127.0.0.1:0", "--exit-when-idle").stderr


def test_stores_and_plans_are_their_owners(reconciler: Run, tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir(mode=0o755)
    (tmp_path / "manifests" / "hook.yaml").write_text(MANIFEST)

    reconciler("plan", "--out", "plan.json")
    reconciler("apply", "--plan", "plan.json")
    serve(reconciler)

    assert modes_of(tmp_path, "reconciler.db*") == {"reconciler.db": 0o600, "reconciler.db.lock": 0o600}
    assert modes_of(tmp_path, "plan.json") == {"plan.json": 0o600}


def test_the_backup_of_the_readme_is_its_owners(reconciler: Run, tmp_path: Path) -> None:
    """SQLite makes it by the umask, so the README sets one."""
    line = next(line for line in (ROOT / "README.md").read_text().split("\n") if line.startswith("- **Backup**"))
    told = re.search(r"`(umask \d+)`", line)
    backup = re.search(r"`(python3 -m apsw [^`]+)`", (ROOT / "README.md").read_text())
    assert told and backup
    serve(reconciler)

    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(f"{told[1]} && {backup[1]}", cwd=tmp_path, shell=True, check=True, env={**os.environ, "PATH": path})

    assert modes_of(tmp_path, "backup.db") == {"backup.db": 0o600}


def test_a_daemon_says_which_files_it_has_shut(reconciler: Run, tmp_path: Path) -> None:
    serve(reconciler)
    (tmp_path / "reconciler.db").chmod(0o644)

    said = serve(reconciler)
    again = serve(reconciler)

    assert re.search(r"store\.shut .*file=\S*reconciler\.db .*mode=0644", said)
    assert "store.shut" not in again
    assert modes_of(tmp_path, "reconciler.db") == {"reconciler.db": 0o640}
    assert "file.mode" in reconciler("doctor", "--offline", "--format", "json").stdout, "its group is told of"
