"""`run --transport`: both ways of sending deliver through the whole product."""

import pytest
from e2e_manifest import ALIAS, event, manifest

from reconciler.cli.daemon import run
from reconciler.cli.main import run as command
from reconciler.cli.option import egress_settings
from reconciler.settings import TransportKind


@pytest.mark.parametrize("transport", ["fast", "httpx"])
def test_events_are_delivered_through_either(workshop, transport):
    """Several at once, over connections that are kept."""
    workshop.write("manifests/flow.yaml", manifest())
    workshop.write("events.jsonl", b"\n".join(event(number) for number in range(20)).decode())
    workshop.start_sandbox("--flow", ALIAS, "--rate", "off")
    workshop.command("apply", "--auto-approve")

    options = ("--events", "events.jsonl", "--exit-when-idle", *workshop.egress())
    workshop.command("run", "--listen", "127.0.0.1:0", "--transport", transport, *options)

    assert len(workshop.record()) == 20


@pytest.mark.parametrize(
    ("args", "env", "kind"),
    [
        ([], None, TransportKind.FAST),
        (["--transport", "httpx"], None, TransportKind.HTTPX),
        ([], "httpx", TransportKind.HTTPX),
        (["--transport", "fast"], "httpx", TransportKind.FAST),
    ],
)
def test_the_option_comes_before_the_variable_and_the_default_is_ours(monkeypatch, args, env, kind):
    """As with every option that has a variable."""
    if env is not None:
        monkeypatch.setenv("RECONCILER_TRANSPORT", env)

    assert egress_settings(run.make_context("run", args).params).transport is kind


def test_a_transport_there_is_not_is_a_usage_error(capsys):
    """By name, before anything is done."""
    assert command(["run", "--transport", "carrier-pigeon"]) == 64
    assert "'fast', 'httpx'" in capsys.readouterr().err
