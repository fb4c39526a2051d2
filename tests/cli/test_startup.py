"""What the command may import before it has something to do: `--help` and completion are run at every prompt."""

import subprocess
import sys

import pytest

HEAVY = (
    "apsw",
    "asyncio",
    "deepdiff",
    "httpcore",
    "httpx",
    "jinja2",
    "orjson",
    "pydantic",
    "rich",
    "starlette",
    "trustme",
    "uvicorn",
    "yaml",
)

PROBE = """
import sys
from reconciler.cli.main import run
code = run({args!r})
print(code, *sorted(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
"""


def loaded_by(*args: str, heavy=HEAVY, cwd=None, code=0) -> set[str]:
    """The heavy modules that a command has imported, which must exit with `code`."""
    script = PROBE.format(args=list(args), heavy=heavy)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=cwd, check=False)
    exit_code, *names = done.stderr.strip().split("\n")[-1].split()
    assert exit_code == str(code), done.stderr
    return set(names)


@pytest.mark.parametrize("args", [("--help",), ("--version",)])
def test_help_and_version_import_nothing_heavy(args):
    assert loaded_by(*args) == set()


def test_a_mistyped_command_is_usage_and_names_the_near_one(reconciler):
    done = reconciler("plann", code=64)

    assert done.stderr == "error: no such command: plann\n\nhint: did you mean `plan`?\n"
    assert done.stdout == ""


def test_an_unknown_option_is_usage_not_changes(reconciler):
    """Exit 2 means changes under --detailed-exitcode; a typo must not read so."""
    reconciler("plan", "--detailed-exitcod", code=64)


def test_every_command_of_the_table_exists_and_has_help(reconciler):
    from reconciler.cli.main import COMMANDS

    for name in COMMANDS:
        assert "Usage: reconciler" in reconciler(name, "--help").stdout


MANIFEST = """\
apiVersion: reconciler/v1
kind: Webhook
metadata: {name: one}
spec:
  url: https://acme.workflows.okta.com/api/flo/0123456789abcdef0123456789abcdef/invoke
  triggers: [RequestCreated]
"""


def test_a_plan_without_changes_imports_neither_deepdiff_nor_httpx(reconciler, tmp_path):
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "one.yaml").write_text(MANIFEST)
    reconciler("apply", "--auto-approve")

    assert loaded_by("plan", heavy=("deepdiff", "httpx", "httpcore", "starlette", "rich"), cwd=tmp_path) == set()
