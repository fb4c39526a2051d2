"""Property 7: no part of a secret comes out of any command, log, file or page, in whatever form it was turned into."""

import base64
import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

from e2e_manifest import ALIAS, event

from reconciler.cli.main import run

# Each escapes otherwise in JSON, URLs and Base64; none looks like a token that our rules know by its form
HEADER = 'kanarie"Qz/7+\\w9 <Xv>&J4pTn~Rb%20Lk'
BODY = "Vogel\\\"Ux/3+'q8;<Wm>=G5sHd~Yc%2FPf"
QUERY = "Wellensittich Zk/5+=&?#Bt<Nq>6~Sj%3DMw"
SIGNING = "whsec_" + base64.b64encode(b"kingfisher-Zx8Cv5Bn-Qw3Er7Ty").decode()
API = "daemon-Kolibri-Hx9Rq2Lv7Zt4Mw8Np3Kc6Jd5"
SENT = (HEADER, BODY, QUERY, SIGNING)
SECRETS = (*SENT, API)
PART = 10  # characters in a row that must not come out

MANIFEST = f"""\
apiVersion: reconciler/v1
kind: Webhook
metadata: {{name: flow, labels: {{edition: EDITION}}}}
spec:
  url: https://acme.workflows.okta.com/api/flo/{ALIAS}/invoke?key=${{secret:query_key}}
  triggers: [RequestCreated]
  headers: {{x-api-client-token: "${{secret:header_token}}"}}
  body_template: '{{"id": "{{{{data.id}}}}", "edition": "EDITION", "key": "${{secret:body_key}}"}}'
  retry: {{schedule: [1s], max_attempts: 2}}
  signing: {{keys: [{{key: "${{secret:signing_key}}"}}]}}
"""
LITERAL = MANIFEST.replace('"${secret:header_token}"', "LITERAL")
HOSTS = "hosts: [acme.workflows.okta.com]"
BINDINGS = f"""\
header_token: {{from: "file:header", {HOSTS}}}
body_key: {{from: "env:BODY_KEY", {HOSTS}}}
query_key: {{from: "file:query", {HOSTS}}}
signing_key: {{from: "file:signing", {HOSTS}}}
"""


def forms(secret: str) -> Iterator[str]:
    """What programs make of a text on its way: as it is, in JSON (once, twice, in ASCII), in URLs, HTML, Base64."""
    in_json = json.dumps(secret)[1:-1]
    yield from (secret, in_json, json.dumps(in_json)[1:-1], repr(secret)[1:-1])
    yield from (quote(secret, safe=""), quote(secret), quote(secret, safe="*"), quote_plus(secret))
    yield from (secret.encode().hex(), secret.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret.encode()).decode()
        yield from (part := encoded[4:-4], part.replace("+", "-").replace("/", "_"))


PARTS = {
    form[start : start + PART]: secret
    for secret in SECRETS
    for form in forms(secret)
    for start in range(len(form) - PART + 1)
}


def leaks(text: str) -> set[str]:
    """Which secrets come out of a text, and by which part."""
    return {
        f"{PARTS[piece]} as {piece}" for start in range(len(text)) if (piece := text[start : start + PART]) in PARTS
    }


def test_a_leak_is_found_in_every_form() -> None:
    """The test's own eyes."""
    assert not leaks("nothing " * 100)
    for secret in SECRETS:
        for form in forms(secret):
            assert leaks(f"x{form}y"), form


FORMATS = {
    "validate": ("text", "json", "github", "sarif", "junit"),
    "plan": ("text", "json", "markdown"),
    "export": ("yaml", "json"),
}
READING = (
    "validate manifests --secrets secrets.yaml",
    "plan manifests --out plan.json --impact",
    "plan manifests --full",
    "check manifests",
    "match manifests --event event.json",
    "show --plan plan.json",
    "apply --plan plan.json",
    "render flow --event event.json",
    "test flow {egress}",
    "test flow changed {egress}",
    "plan changed --impact",
    "apply changed --auto-approve --verify {egress}",
    "drift changed",
    "history",
    "show 1",
    "show --webhook flow changed --effective",
    "diff 1 2",
    "diff live manifests",
    "webhooks list",
    "webhooks show flow",
    "events list",
    "events show {event}",
    "deliveries list",
    "deliveries show {delivery}",
    "webhooks pause flow --reason why",
    "deliveries replay {delivery} --auto-approve",
    "deliveries cancel {delivery} --auto-approve",
    "webhooks resume flow",
    "events list --match-errors",
    "doctor",
    "doctor --store sqlite:///reconciler.db {egress}",
    "audit list",
    "audit verify",
    "export",
    "rollback 1 --auto-approve --hold --reason why",
    "apply changed --auto-approve",
    "plan literal",
    "validate literal",
)


def text(stream: io.TextIOWrapper) -> str:
    """What was written to it."""
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()


EXPECTED = {
    "test flow {egress} text": 1,  # the receiver's 500
    "test flow changed {egress} text": 1,
    "deliveries cancel {delivery} --auto-approve json": 1,  # the text before has cancelled it
    "apply changed --auto-approve": 3,  # on hold
    "plan literal": 1,
    "validate literal": 1,
}


def test_property_07_no_part_of_a_secret_comes_out_anywhere(workshop, post, eventually, monkeypatch):
    """Every command in every format, through a daemon that asks for a token; the daemon's log, its store, the
    caches, saved plans and reports, while the receiver repeats all it was sent in its answers."""
    said: dict[str, str] = {}

    def call(line: str, how: str = "") -> str:
        args = [*line.format(egress=" ".join(workshop.egress()), **ids).split(), *(["--format", how] if how else [])]
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(args)
        assert code == EXPECTED.get(line, EXPECTED.get(f"{line} {how}", 0)), (line, how, code, text(err))
        said[f"{line} {how}"] = text(out) + text(err)
        return text(out)

    ids = {"event": "none", "delivery": "none"}
    workshop.write("header", HEADER)
    workshop.write("query", QUERY)
    workshop.write("signing", SIGNING)
    workshop.write("secrets.yaml", BINDINGS).chmod(0o600)
    workshop.write("tokens.yaml", json.dumps({"ci": {"token": API, "roles": ["apply", "ingest", "operate"]}})).chmod(
        0o600
    )
    workshop.write("manifests/flow.yaml", MANIFEST.replace("EDITION", "one"))
    workshop.write("changed/flow.yaml", MANIFEST.replace("EDITION", "two"))
    workshop.write("literal/flow.yaml", LITERAL.replace("LITERAL", json.dumps(HEADER)))
    workshop.write("event.json", event(1).decode())
    echo = json.dumps({"raw": SENT, "urls": [quote(secret, safe="") for secret in SENT]})
    script = [{"status": 500, "body": echo, "headers": {"x-echo": HEADER}}, {"status": 200, "body": echo}]
    workshop.write("script.jsonl", "\n".join(json.dumps(line) for line in [*script * 3, script[1]]))
    environment = {"BODY_KEY": BODY, "RECONCILER_TOKEN": API, "XDG_CACHE_HOME": str(workshop.folder / "cache")}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
        workshop.env[name] = value
    monkeypatch.chdir(workshop.folder)
    workshop.start_sandbox("--flow", ALIAS, "--rate", "off", "--script", "script.jsonl")
    daemon, url = workshop.start_daemon("--tokens", "tokens.yaml", "--log-format", "json")
    monkeypatch.setenv("RECONCILER_STORE", url)

    for number, line in enumerate(READING):
        command = line.split()[0]
        formats = FORMATS.get(command, ("text", "json"))
        if command in ("apply", "rollback"):
            formats = (formats[number % 2],)
        for how in formats:
            call(line, how)
        if line.startswith("apply --plan"):
            post(url, event(2), authorization=f"Bearer {API}")
            eventually(lambda: len(workshop.record()) >= 2, what="two attempts")
            eventually(
                lambda: json.loads(call("deliveries list", "json"))[0]["state"] == "delivered", what="a delivery"
            )
            ids["event"] = json.loads(call("events list", "json"))[0]["id"]
            ids["delivery"] = json.loads(call("deliveries list", "json"))[0]["id"]

    assert "1 of 1 changed webhooks affected" in said["plan changed --impact markdown"]
    assert '"outcome": "delivered"' in said["deliveries show {delivery} json"]
    daemon.kill()
    said["the daemon's log"] = "\n".join(daemon.lines)
    for file in _written(workshop.folder):
        said[str(file)] = file.read_bytes().decode("latin-1")
    assert [f"{place}: {found}" for place, what in said.items() if (found := sorted(leaks(what))[:3])] == []


def _written(folder: Path) -> list[Path]:
    """Every file but those that hold the secrets on purpose: what is bound, what the literal's manifest says, what the
    sandbox was told to say and what it has received."""
    ours = {"header", "query", "signing", "tokens.yaml", "script.jsonl", "record.jsonl"}
    files = [file for file in folder.rglob("*") if file.is_file() and file.name not in ours]
    return [file for file in files if file.parent.name != "literal"]
