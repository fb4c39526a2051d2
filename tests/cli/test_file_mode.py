"""What commands write under the loosest umask: whatever holds events, plans or tokens is its owner's alone."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.egress.operator_file import deeds_of_others

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


def test_a_daemon_warns_of_secrets_that_others_may_read(reconciler: Run, tmp_path: Path) -> None:
    """By the file, never by its value."""
    (tmp_path / "secrets.yaml").write_text(f"one: {{from: 'file:{tmp_path}/token', hosts: [hooks.example.com]}}\n")
    (tmp_path / "secrets.yaml").chmod(0o600)
    (tmp_path / "token").write_text("0123456789abcdef")
    (tmp_path / "token").chmod(0o640)

    done = reconciler("run", "--listen", "127.0.0.1:0", "--exit-when-idle", "--secrets", "secrets.yaml")

    assert re.search(r"key\.loose .*file=\S*/token .*mode=0640", done.stderr)
    assert "0123456789abcdef" not in done.stderr


@pytest.mark.parametrize(
    ("mode", "owner", "deeds"),
    [
        (0o600, "itself", ""),
        (0o640, "itself", "read"),
        (0o640, "root", ""),
        (0o644, "root", "read"),
        (0o660, "root", "changed"),
        (0o666, "itself", "read and changed"),
    ],
)
def test_only_root_hands_a_file_to_the_daemons_group(
    mode: int, owner: str, deeds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 10001)
    uid = 0 if owner == "root" else 10001

    assert deeds_of_others(os.stat_result((mode, 0, 0, 1, uid, 0, 0, 0, 0, 0))) == deeds
