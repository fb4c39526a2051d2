"""docs/signing.md says what the commands do."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.cli.main import run
from reconciler.manifest.load import load_manifests
from reconciler.request.render import Prepared
from reconciler.request.sign import parse_signer, signature_headers

TEXT = (Path(__file__).parents[2] / "docs" / "signing.md").read_text("utf-8")
HEAD = """\
apiVersion: reconciler/v1
kind: Webhook
metadata: {name: signed}
spec:
  url: https://hooks.example.com/in
  triggers: [RequestCreated]
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.mark.parametrize("number", [0, 2])
def test_its_manifests_are_sound(tmp_path: Path, number: int) -> None:
    """No warning in the overlap of the rotation, nor at any time of windows that leave no gap."""
    text = blocks("yaml")[number].removeprefix("spec:\n")
    indented = "".join(f"  {line}\n" if number else f"{line}\n" for line in text.splitlines())
    (tmp_path / "a.yaml").write_text(HEAD + indented)

    assert load_manifests([tmp_path / "a.yaml"], now=datetime(2026, 3, 7, tzinfo=UTC)).problems == ()


def test_its_session_is_what_the_command_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a body that an editor gave a line end, and a binding file as on the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    assert run(["signing", "keygen"]) == 0
    key = capsys.readouterr().out
    Path("signing.key").write_text(key)
    Path("secrets.yaml").write_text(blocks("yaml")[1])
    Path("secrets.yaml").chmod(0o600)
    request = Prepared("POST", "https://hooks.example.com/in", (("webhook-id", "dlv_1"),), b"{}")
    made = signature_headers([parse_signer(key.strip())], request, now=1_800_000_000_000)
    Path("headers.txt").write_text("".join(f"{name}: {value}\n" for name, value in (*request.headers, *made)))
    Path("body.json").write_bytes(b"{}\n")

    [session] = blocks("console")
    prompt, _, shown = session.partition("\n")
    assert run(prompt.removeprefix("$ reconciler ").split()) == 1
    assert capsys.readouterr().err == shown

    Path("body.json").write_bytes(b"{}")
    bound = ["--secret", "signing_key", "--secrets", "secrets.yaml", "--at", "2027-01-15T08:00:00Z"]
    assert run(["signing", "verify", *bound, "--headers", "headers.txt", "--body", "body.json"]) == 0
