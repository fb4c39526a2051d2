"""The command line's reference, `docs/cli.md`, made from the commands themselves.

Run as `python -m reconciler.cli.reference`, with `--check` where a pipeline asks whether the file is up to date. Only
what no command knows stands here: exit codes, and variables that are not an option's.
"""

import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from reconciler.cli import view
from reconciler.cli.main import cli
from reconciler.cli.provenance import ACTOR_VARIABLES, COMMIT_VARIABLES
from reconciler.errors import (
    EXIT_CHANGES,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_REFUSED,
    EXIT_STALE,
    EXIT_USAGE,
)

DEFAULT_FILE: Final = "docs/cli.md"

_TOLD_DEFAULT: Final = re.compile(r"\s*\[default: (.*?)\]")

HEAD: Final = """\
<!-- Made by `python -m reconciler.cli.reference` from the commands; edit their help instead. -->
# The command line

Data goes to stdout, everything else to stderr. `--format json` is for programs; tables are whole in a pipe and fitted
to a terminal. An option that has a variable is taken from it where it is not given.
"""

EXIT_CODES: Final = (
    (EXIT_OK, "done; no changes; changes without `--detailed-exitcode`"),
    (
        EXIT_FAILED,
        "failed: invalid manifests, a PATH that is missing, input or output, a failed `test`, a declined question, or "
        "no terminal to ask and no `--auto-approve` (nothing was done)",
    ),
    (EXIT_CHANGES, "there are changes; only under `--detailed-exitcode`"),
    (
        EXIT_REFUSED,
        "refused by a guard or a policy, with or without `--detailed-exitcode`; the plan is still shown; no manifests "
        "at all for `plan` and `apply`",
    ),
    (EXIT_STALE, "the saved plan is stale or was used before, or another apply was faster"),
    (EXIT_USAGE, "the command line cannot be understood"),
    (EXIT_INTERRUPTED, "interrupted"),
)

OTHER_VARIABLES: Final = (
    ("RECONCILER_TOKEN", "the bearer token for a daemon that wants one (`--store https://…`, `send`)"),
    ("NO_COLOR", "no colour, whatever else says so"),
    ("FORCE_COLOR", "colour into a pipe as well"),
    ("CI", "no colour on what looks like a terminal"),
    (", ".join(ACTOR_VARIABLES), "who applies, where `--as` does not say"),
    (", ".join(COMMIT_VARIABLES), "the commit, where neither `--commit` nor git says"),
)


@click.command()
@click.option("--out", "file", default=DEFAULT_FILE, show_default=True, help="The file to write.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if the file is not up to date.")
def reference(file: str, check: bool) -> None:
    """Write the command line's reference."""
    path, text = Path(file), reference_text()
    if path.is_file() and path.read_text("utf-8") == text:
        view.out(f"{path}: up to date")
    elif check:
        view.say_error(f"not up to date: {path}", hint="run `python -m reconciler.cli.reference`")
        raise SystemExit(EXIT_FAILED)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        view.out(f"{path}: written")


def reference_text() -> str:
    """The whole file. The same for every version of click, width of terminal and environment."""
    root = click.Context(cli, info_name="reconciler")
    commands = list(_commands(root))
    return (
        "\n\n".join(
            (
                HEAD.rstrip(),
                _table(("command", "what it does"), [_index_row(context) for context in commands]),
                "## Exit codes",
                _table(("exit", "when"), [(str(code), text) for code, text in EXIT_CODES]),
                "## Variables",
                _table(("variable", "stands for"), _variables(commands)),
                *(_section(context) for context in commands),
            )
        )
        + "\n"
    )


def _commands(parent: click.Context) -> Iterator[click.Context]:
    """Every command that does something, in the order of `--help`."""
    group = parent.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=parent)
        if isinstance(command, click.Group):
            yield from _commands(context)
        else:
            yield context


def _index_row(context: click.Context) -> tuple[str, str]:
    name = context.command_path.removeprefix("reconciler ")
    anchor = context.command_path.replace(" ", "-")
    return f"[{name}](#{anchor})", _paragraphs(context.command)[0]


def _variables(commands: Sequence[click.Context]) -> list[tuple[str, str]]:
    options = {
        param.envvar: f"`{_longest(param)}`"
        for context in commands
        for param in context.command.params
        if isinstance(param, click.Option) and isinstance(param.envvar, str)
    }
    known = [(f"`{name}`", option) for name, option in sorted(options.items())]
    return known + [(f"`{name.replace(', ', '`, `')}`", text) for name, text in OTHER_VARIABLES]


def _section(context: click.Context) -> str:
    command = context.command
    options = [param for param in command.params if isinstance(param, click.Option)]
    usage = " ".join((context.command_path, "[OPTIONS]", *map(_argument, _arguments(command))))
    parts = [f"## {context.command_path}", f"```text\n{usage}\n```", *_paragraphs(command)]
    if options:
        parts.append(_table(("option", "meaning", "default"), [_row(option) for option in options]))
    if command.epilog:
        parts.append(f"```text\n{_plain(command.epilog)}\n```")
    return "\n\n".join(parts)


def _arguments(command: click.Command) -> list[click.Argument]:
    return [param for param in command.params if isinstance(param, click.Argument)]


def _argument(argument: click.Argument) -> str:
    text = argument.metavar or _kind(argument)
    return text if argument.required or text.startswith("[") else f"[{text}]"


def _row(option: click.Option) -> tuple[str, str, str]:
    value = "" if option.is_flag else f" {option.metavar or _kind(option)}"
    variable = f" Variable: `{option.envvar}`." if option.envvar else ""
    told = _TOLD_DEFAULT.search(option.help or "")
    meaning = _TOLD_DEFAULT.sub("", option.help or "")
    # 1. no value, no go; 2. a default that the command computes, told in its help; 3. click's own
    if option.required:
        default = "required"
    elif told is not None:
        default = told[1]
    else:
        default = f"{option.default}" if option.show_default and option.default is not None else ""
    return f"`{_longest(option)}{value}`", f"{meaning}{_range(option)}{variable}", default


def _kind(param: click.Parameter) -> str:
    if isinstance(param.type, click.Choice):
        return "|".join(map(str, param.type.choices))
    return "N" if isinstance(param.type, click.types.IntParamType) else param.type.name.upper()


def _range(option: click.Option) -> str:
    if not isinstance(option.type, click.IntRange):
        return ""
    low, high = option.type.min, option.type.max
    return f" From {low}{'' if high is None else f' to {high}'}." if low is not None else ""


def _longest(option: click.Parameter) -> str:
    return max(option.opts, key=len)


def _paragraphs(command: click.Command) -> list[str]:
    return [" ".join(text.split()) for text in _plain(command.help or "").split("\n\n")]


def _plain(text: str) -> str:
    """Without click's mark for text that it must not wrap."""
    return inspect.cleandoc(text.replace("\b\n", ""))


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    reference()
