"""What the canary runs: every command with at least one line, and whoever runs them and keeps what was said."""

import contextlib
import io
import json
from dataclasses import dataclass, field

import click
from canary_plant import FLAWED, HOSTS
from canary_receiver import CanaryReceiver
from workshop import Workshop

from reconciler.cli.main import cli, run

# What each command is run with, at least one line each; the services are processes of the test itself. BOTH are run on
# the store's file and then through the daemon; `{…}` stands for what is known only then.
SERVICES = {"run", "sandbox", "demo"}
ONCE = (
    "validate manifests --secrets secrets.yaml",
    "validate literal",
    "validate manifests --secrets misplaced.yaml",
    "check manifests",
    "fmt --check manifests",
    "fmt --diff manifests",
    "schema --check --out schemas",
    "explain",
    "explain manifest",
    "import state.json",
    "render plain manifests --event event.json",
    "match manifests --event event.json",
    "signing keygen",
    "signing keygen --asymmetric",
    "signing verify --secrets secrets.yaml --secret signing_old --headers headers.txt --body event.json",
    "signing verify --key-file vault/wrong_key --headers headers.txt --body event.json",
    "signing verify --key-file vault/mtls_key --headers headers.txt --body event.json",
)
BOTH = (
    "plan manifests --out plan.json --secrets secrets.yaml",
    "show --plan plan.json",
    "apply --plan plan.json",
    "plan literal",
    "plan changed --impact --detailed-exitcode",
    "apply changed --verify --auto-approve {egress}",
    "apply changed --auto-approve",
    "drift manifests",
    "history",
    "show 1",
    "show --webhook plain changed --effective",
    "diff 1 2",
    "diff live manifests",
    "render plain --event event.json",
    "match --live --event event.json",
    *(
        f"test {name} {{egress}}"
        for name in ("plain", "judged", "basic", "bearer", "raw", "cut", "long", "drop", "reset")
    ),
    *(f"test {name} {{egress}}" for name in ("badtls", "closed", "unbound", "mtls", "locked", "mistaken", *FLAWED)),
    "test plain changed {egress}",
    "auth test oauth-401 {egress} --send",
    *(
        f"auth test {name} {{egress}}"
        for name in ("oauth-refused", "oauth-pem", "oauth-jwk", "mtls", "locked", "basic")
    ),
    "trigger on-call --event event.json --wait {egress}",
    "webhooks list",
    "webhooks show plain",
    "webhooks show unbound",
    "webhooks pause raw --reason why",
    "webhooks resume raw",
    "events list",
    "events list --status quarantined",
    "events list --match-errors",
    "events show {event}",
    "events replay --all --auto-approve",
    "deliveries list",
    "deliveries list --state dead",
    "deliveries show {delivery}",
    "deliveries show {basic}",
    "deliveries replay {delivery} --auto-approve",
    "deliveries cancel {delivery} --auto-approve",
    "doctor {egress}",
    "doctor --offline",
    "export",
    "rollback 1 --auto-approve --hold --reason why",
    "rollback --release --reason why",
    "audit list",
    "audit verify",
)
THROUGH_DAEMON = (
    "send event.json --to {url}",
    "send broken.json --to {url}",
    "health --listen {listen} --tls-cert daemon.pem --ready",
)
WRONGLY = (  # secrets in places where none belongs: nothing of them is repeated
    "history --store postgresql://canary:{store}@127.0.0.1/canary",
    "history --store https://canary:{store}@127.0.0.1:1",
    "test plain --proxy http://canary:{proxy}@127.0.0.1:port --secrets secrets.yaml",
    "send event.json --to https://canary:{store}@127.0.0.1:1",
    "run --listen 127.0.0.1:0 --tokens misplaced.yaml",
    "run --listen 127.0.0.1:0 --tls-cert daemon.pem --tls-key misplaced.yaml",
)
FORMATS = {
    "validate": ("text", "json", "github", "sarif", "junit"),
    "check": ("text", "json", "junit"),
    "plan": ("text", "json", "markdown"),
    "export": ("yaml", "json"),
    "import": ("yaml", "json"),
    "fmt": ("",),
    "schema": ("",),
    "run": ("",),
}


def leaves() -> dict[str, click.Command]:
    """Every command, by its words."""
    found: dict[str, click.Command] = {}

    def walk(command: click.Command, words: tuple[str, ...]) -> None:
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                inner = command.get_command(click.Context(command), name)
                assert inner is not None
                walk(inner, (*words, name))
        else:
            found[" ".join(words)] = command

    walk(cli, ())
    return found


LEAVES = leaves()


def leaf_of(line: str) -> str | None:
    """The command of a line; None where this version has none of that name."""
    words = line.split()
    return next((name for name in (" ".join(words[:2]), words[0]) if name in LEAVES), None)


@dataclass
class Canary:
    """The folder, what was planted, and all that was said."""

    workshop: Workshop
    receiver: CanaryReceiver
    planted: dict[str, str]
    said: dict[str, str] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=lambda: dict.fromkeys(("event", "delivery", "basic"), "none"))

    @property
    def egress(self) -> str:
        port, closed = self.receiver.port, 1
        names = HOSTS.replace("closed.example.com", "").replace(",", "").split()
        routes = [f"--connect-to {name}:443:127.0.0.1:{port}" for name in names]
        return " ".join(
            [*routes, f"--connect-to closed.example.com:443:127.0.0.1:{closed}", "--ca ca.pem --secrets secrets.yaml"]
        )

    def call(self, line: str, how: str = "", where: str = "") -> str:
        """Run a command in this process; what it said on stdout."""
        given = {**self.planted, **self.ids, "egress": self.egress}
        args = [*line.format_map(given).split(), *(["--format", how] if how else [])]
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(args)
        texts = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
        key = f"{where} {line} {how}".strip()
        self.said[key], self.codes[key] = "".join(texts), code
        return texts[0]

    def call_all(self, lines: tuple[str, ...], where: str) -> None:
        """Each in every format, but once what changes something."""
        for number, line in enumerate(lines):
            leaf = leaf_of(line)
            if leaf is None:
                continue
            formats = FORMATS.get(leaf, ("text", "json"))
            if leaf in ("apply", "rollback", "trigger", "test", "auth test", "doctor"):
                formats = (formats[number % 2],)
            for how in formats:
                self.call(line, how, where)

    def find_ids(self) -> None:
        """Some event, and deliveries that have attempts."""
        deliveries = json.loads(self.call("deliveries list --limit 1000", "json"))
        tried = [item for item in deliveries if item["attempts"]]
        named = {item["webhook"]: item["id"] for item in tried}
        self.ids |= {"delivery": named.get("plain", "none"), "basic": named.get("basic", "none")}
        events = json.loads(self.call("events list", "json"))
        self.ids["event"] = events[0]["id"] if events else "none"
