"""`docs/cli.md` is made from the commands and says what they say."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from reconciler.cli.main import COMMANDS, cli
from reconciler.cli.reference import EXIT_CODES, reference_text

ROOT = Path(__file__).parents[2]


def options_of(group: click.Group) -> set[str]:
    """Every long option of every command."""
    context = click.Context(group)
    found: set[str] = set()
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.update(option for param in command.params for option in param.opts if option.startswith("--"))
        if isinstance(command, click.Group):
            found |= options_of(command)
    return found


def test_the_reference_is_up_to_date():
    """Mended by `python -m reconciler.cli.reference`."""
    assert (ROOT / "docs" / "cli.md").read_text() == reference_text()


def test_every_command_and_option_is_in_it():
    text = reference_text()

    assert [name for name in COMMANDS if f"## reconciler {name}" not in text] == []
    assert [option for option in options_of(cli) if f"`{option}" not in text] == []
    assert [code for code, _ in EXIT_CODES if f"\n| {code} | " not in text] == []


@pytest.mark.parametrize(("args", "code"), [(["--check"], 1), ([], 0)])
def test_a_stale_file_fails_the_check_or_is_written(tmp_path, args, code):
    """The terminal's width and the variables of whoever writes it leave no trace."""
    stale = tmp_path / "docs" / "cli.md"
    stale.parent.mkdir()
    stale.write_text("old")

    done = subprocess.run(
        [sys.executable, "-m", "reconciler.cli.reference", *args],
        cwd=tmp_path,
        env={"COLUMNS": "40", "RECONCILER_STORE": "sqlite:///secret.db", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code, done.stderr
    assert stale.read_text() == ("old" if code else reference_text())
