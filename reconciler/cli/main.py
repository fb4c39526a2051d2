"""The `reconciler` command: a lazy group, one exit table, one way to say that something is wrong.

A command's module is imported when the command runs; the short help stands here, so that `--help` imports none.
"""

import atexit
import gc
import importlib
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import click

from reconciler import VERSION
from reconciler.cli.option import store_option
from reconciler.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, ManifestError, ReconcilerError

_USUAL: Final = gc.get_threshold()
SHORT_LIVED: Final = (500_000, *_USUAL[1:])  # objects between two looks for cycles, of which a command makes few


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command lives; `attribute` defaults to the command's name in that module."""

    module: str
    help: str
    attribute: str = ""
    is_service: bool = False  # runs until it is told to end


COMMANDS: Final[dict[str, LazyCommand]] = {
    "validate": LazyCommand("manifest", "Check manifests; report every problem at once."),
    "check": LazyCommand("check", "Check manifests and run the tests among them."),
    "fmt": LazyCommand("fmt", "Rewrite manifests in the one layout, comments kept."),
    "schema": LazyCommand("manifest", "Write the JSON Schemas of manifests, events and plans, and OpenAPI of the API."),
    "explain": LazyCommand("manifest", "Print a schema as a table."),
    "plan": LazyCommand("plan", "Show what apply would change."),
    "apply": LazyCommand("plan", "Bring the store to what the manifests say, all or nothing."),
    "drift": LazyCommand("drift", "Tell what is live otherwise than the last apply left it."),
    "show": LazyCommand("show", "Show a saved plan, or where a webhook's values come from."),
    "history": LazyCommand("history", "List applied revisions: who, when, from which commit."),
    "diff": LazyCommand("diff", "Compare revisions with each other, with what is live, with manifests."),
    "rollback": LazyCommand("rollback", "Go back to an earlier revision, as a new one; hold applies."),
    "export": LazyCommand("export", "Print the live webhooks as manifests."),
    "import": LazyCommand("export", "Turn a Terraform state's webhooks into manifests.", "import_"),
    "match": LazyCommand("match", "Explain which webhooks want an event, and which of their conditions held."),
    "render": LazyCommand("webhook", "Show the request a webhook would send for an event."),
    "test": LazyCommand("webhook", "Send a test event through a live webhook, or one about to be saved."),
    "auth": LazyCommand("auth", "Test what a webhook is known to its receiver by, step by step."),
    "signing": LazyCommand("signing", "Make signing keys, and verify signed requests."),
    "webhooks": LazyCommand("webhook", "List, show, pause and resume live webhooks."),
    "trigger": LazyCommand("trigger", "Fire a Manual webhook: one real delivery of an event."),
    "send": LazyCommand("event", "Send events from a file to a daemon."),
    "events": LazyCommand("event", "List, show and replay received events."),
    "deliveries": LazyCommand("delivery", "List, show, replay and cancel deliveries."),
    "audit": LazyCommand("audit", "List who did what, and verify that the log of it is whole."),
    "doctor": LazyCommand("doctor", "Tell what is wrong, and how to mend it."),
    "health": LazyCommand("health", "Tell whether the daemon on this machine lives, or is ready."),
    "run": LazyCommand("daemon", "Run the dispatcher: take events in, deliver them.", is_service=True),
    "sandbox": LazyCommand("sandbox", "Run a local server that behaves like Okta Workflows.", is_service=True),
    "demo": LazyCommand("demo", "The whole path on this machine: plan, apply, deliver, look.", is_service=True),
}


class NoSuchCommandError(click.UsageError):
    """A word that is no command; `possibilities` are near ones, as click's own exceptions call them."""

    def __init__(self, word: str, ctx: click.Context) -> None:
        import difflib

        super().__init__(f"no such command: {word}", ctx)
        self.possibilities = difflib.get_close_matches(word, COMMANDS, n=1)


class LazyGroup(click.Group):
    """A group that imports a command's module only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        command = COMMANDS.get(name)
        if command is None:
            return None
        module = importlib.import_module(f"reconciler.cli.{command.module}")
        loaded: click.Command = getattr(module, command.attribute or name)
        if command.is_service and gc.get_threshold() == SHORT_LIVED:
            gc.set_threshold(*_USUAL)
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise NoSuchCommandError(args[0], ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="reconciler")
@store_option
def cli(**_: Any) -> None:
    """Terraform for outgoing webhooks, with the delivery engine built in.

    Declare webhooks in YAML, review the plan in a pull request, apply it to the store; the daemon delivers
    access-request events with the applied configuration.
    """


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit by the table of exit codes. Reports are flushed before the exit.

    Without `argv` this process is the command's. A caller who names arguments may have more to do: nothing is changed
    for the whole process, and what catches SystemExit goes on."""
    _speak_utf8()
    if argv is not None:
        sys.exit(_flushed(run(argv)))
    codes: list[int] = []
    atexit.register(_leave, codes)  # what is registered first is called last
    gc.set_threshold(*SHORT_LIVED)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # nothing that happens to be installed reads along
    codes.append(_flushed(run()))
    sys.exit(codes[0])


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    from reconciler.cli import view

    try:
        result = cli.main(args=None if argv is None else list(argv), prog_name="reconciler", standalone_mode=False)
    except click.UsageError as exc:
        _say_usage(exc)
        return EXIT_USAGE
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        view.say("interrupted")
        return EXIT_INTERRUPTED
    except ManifestError as exc:
        view.say_problems(exc.problems)
        return exc.exit_code
    except ReconcilerError as exc:
        view.say_error(exc.message, hint=exc.hint)
        return exc.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except OSError as exc:
        view.say_error(f"{exc.strerror or exc}".lower() + (f": {exc.filename}" if exc.filename else ""))
        return 1
    return result if isinstance(result, int) else EXIT_OK


def _say_usage(exc: click.UsageError) -> None:
    """A usage error in our grammar. Where a group is called without a command, its help."""
    from reconciler.cli import view

    if isinstance(exc, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # since click 8.2
        exc.show()
        return
    possibilities = getattr(exc, "possibilities", None)
    text = exc.message if possibilities else exc.format_message()
    hint = f"`{exc.ctx.command_path if exc.ctx else 'reconciler'} --help` shows the usage"
    if possibilities:
        hint = f"did you mean `{possibilities[0]}`?"
    view.say_error(f"{text[:1].lower()}{text[1:].rstrip('.')}", hint=hint)


def _speak_utf8() -> None:
    """Print the same bytes in every locale: a plan is compared and kept, and Latin-1 could not say every name. What not
    even UTF-8 can say, half of a surrogate pair in a file's name, is spelt out."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _leave(codes: Sequence[int]) -> None:
    """End here, unless it is by an exception: to take apart what a large plan was made of would last 0.1 s."""
    if codes:
        os._exit(_flushed(codes[0]))


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


if __name__ == "__main__":
    main()
