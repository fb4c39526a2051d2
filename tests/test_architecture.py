"""The shape of the code is a test: import order, pure rooms, one home for each library."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_imports_follow_the_layers_of_the_design():
    script = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", script, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_dependency_states_its_reason():
    lines = (ROOT / "pyproject.toml").read_text().split("\n")
    start, end = lines.index("dependencies = ["), lines.index("[project.scripts]")
    dependencies = [line for line in lines[start:end] if line.strip().startswith('"') or line.startswith("uvloop")]

    assert dependencies
    assert [line for line in dependencies if "# " not in line] == []


def test_every_module_says_what_it_is():
    silent = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "reconciler").rglob("*.py")
        if not path.read_text().lstrip().startswith(('"""', 'r"""'))
    ]

    assert silent == []
