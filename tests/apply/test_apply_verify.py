"""`apply --verify`: each changed webhook is tested before the transaction, by a real server on loopback."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from apply_folder import Called, Folder, manifest
from test_apply_terminal import Terminal

from reconciler.sandbox.flow import Flow
from reconciler.sandbox.okta import OktaSandbox, SandboxSettings
from reconciler.sandbox.record import RecordedRequest
from reconciler.sandbox.script import Line

Call = Callable[..., Called]
HOST = "acme.workflows.okta.com"
SHARED = "f" * 32
TOKEN = "5ec7e7" * 10 + "abcd"
VERIFY = ("apply", "--auto-approve", "--verify")


@dataclass
class Okta:
    """The sandbox on a thread of its own, and where each webhook of these tests sends to."""

    server: OktaSandbox
    loop: asyncio.AbstractEventLoop

    @property
    def requests(self) -> list[RecordedRequest]:
        return self.server.requests

    @property
    def tested(self) -> list[str]:
        """The flows that were sent something, sorted."""
        return sorted(str(request.flow) for request in self.requests)

    def script(self, *lines: Line) -> None:
        self.server.add_script(*lines)

    def wait_for_requests(self, count: int) -> None:
        asyncio.run_coroutine_threadsafe(self.server.wait_for_requests(count, 30), self.loop).result(40)


@pytest.fixture
def okta(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Okta]:
    """The sandbox, to which the operator's variables lead; the flow of `secret` wants a token."""
    ready: list[Okta] = []
    is_ready, loop = threading.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        flows = (*(Flow(alias(name)) for name in "abcd"), Flow(SHARED), Flow(alias("secret"), TOKEN))
        async with OktaSandbox(SandboxSettings(flows=flows, ca_out=folder.path / "ca.pem")) as server:
            ready.append(Okta(server, loop))
            is_ready.set()
            await server.stopped

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert is_ready.wait(30)
    monkeypatch.setenv("RECONCILER_CA", "ca.pem")
    monkeypatch.setenv("RECONCILER_CONNECT_TO", f"{HOST}:443:127.0.0.1:{ready[0].server.port}")
    monkeypatch.setenv("NO_COLOR", "1")
    yield ready[0]
    loop.call_soon_threadsafe(ready[0].server.stop)
    thread.join(30)
    loop.close()


def alias(name: str) -> str:
    """The flow of a webhook."""
    return name.encode().hex().ljust(32, "0")


def hook(name: str, metadata: dict[str, str] | None = None, *, flow: str = "", **spec: object) -> str:
    """A webhook on a flow of its own, or on that one."""
    return manifest(name, metadata, url=f"https://{HOST}/api/flo/{flow or alias(name)}/invoke", **spec)


def with_operator(env: dict[str, str]) -> dict[str, str]:
    """An environment and the operator's variables."""
    return {**env, **{name: value for name, value in os.environ.items() if name.startswith("RECONCILER_")}}


def verifying(folder: Folder, env: dict[str, str]) -> "subprocess.Popen[str]":
    """The command as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "reconciler", *VERIFY],
        cwd=folder.path,
        env=with_operator(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_what_every_receiver_takes_is_applied(folder: Folder, call: Call, okta: Okta) -> None:
    """A test event each, that no real one can be mistaken for, before the transaction; a line for each success."""
    folder.write(hook("a"), hook("b"))

    done = call(*VERIFY)

    assert done.code == 0, done.err
    assert okta.tested == [alias("a"), alias("b")]
    for request in okta.requests:
        assert request.headers["x-reconciler-test"] == "1"
        assert json.loads(request.content)["data"]["id"].startswith("test-")
    after_plan = done.out.partition("Plan: 2 to add")[2]
    tests, _, complete = after_plan.partition("Apply complete!")
    assert ("Test successful  a\nTest successful  b\n" in tests, bool(complete)) == (True, True)
    assert asyncio.run(folder.names()) == (1, ["a", "b"])


@pytest.mark.parametrize(("status", "advice"), [(500, "receiver"), (401, "is the token right")])
def test_one_failed_test_applies_nothing(folder: Folder, call: Call, okta: Okta, status: int, advice: str) -> None:
    """Exit 1, the store as it was; the report holds the invocation data and what to check."""
    folder.write(hook("a"))
    assert call("apply", "--auto-approve").code == 0
    folder.write(hook("a", {"title": "edited"}), hook("b"), hook("c"))
    okta.script(Line(flow=alias("b"), status=status))

    done = call(*VERIFY)

    assert done.code == 1
    assert asyncio.run(folder.names()) == (1, ["a"])
    assert "Apply complete" not in done.out
    assert "Test successful  a\nTest successful  c\nTest failed  b\n" in done.out
    report = done.out.partition("Test failed  b\n")[2]
    assert f"https://{HOST}/api/flo/{alias('b')}/invoke" in report
    assert f"{status}" in report
    assert advice in report.partition("what to check")[2]
    assert "error: 1 of 3 webhooks is not verified; nothing was applied" in done.err


def test_a_failed_first_apply_makes_no_store(folder: Folder, call: Call, okta: Okta) -> None:
    folder.write(hook("a"))
    okta.script(Line(status=500))

    assert call(*VERIFY).code == 1
    assert not (folder.path / "reconciler.db").exists()


def test_only_what_will_send_otherwise_is_tested(folder: Folder, call: Call, okta: Okta) -> None:
    """Not the deleted, unchanged, inactive and merely renamed; the edited, reactivated and renamed with an edit."""
    folder.write(
        *(hook(name) for name in ("unchanged", "deleted", "stopped", "moved")),
        *(hook(name, flow=alias(name[0])) for name in ("a", "b-old")),
        hook("c", status="inactive"),
    )
    assert call("apply", "--auto-approve").code == 0
    folder.write(
        hook("unchanged"),
        hook("stopped", status="inactive"),
        hook("moved-on", {"renamed_from": "moved"}, flow=alias("moved")),
        hook("a", content_type="text/plain"),
        hook("b-new", {"renamed_from": "b-old"}, flow=alias("b"), content_type="text/plain"),
        hook("c"),
        hook("d"),
        hook("e", status="inactive"),
    )

    done = call(*VERIFY)

    assert done.code == 0, done.err
    assert okta.tested == [alias(name) for name in "abcd"]


def test_without_the_option_nothing_is_sent(folder: Folder, call: Call, okta: Okta) -> None:
    """Not even where the operator's variables are set; where to dial is no use without it."""
    folder.write(hook("a"))

    assert call("apply", "--auto-approve", "--connect-to", f"{HOST}:443:127.0.0.1:1").code == 64
    assert call("apply", "--auto-approve").code == 0
    assert okta.requests == []


def test_what_cannot_be_tested_is_not_verified_and_nobody_is_sent_anything(
    folder: Folder, call: Call, okta: Okta
) -> None:
    """A secret that is bound nowhere, in a header or in `auth`."""
    auth = {"bearer": {"token": "${secret:token}"}}
    folder.write(hook("a"), hook("b", auth=auth), hook("c", headers={"x-api-client-token": "${secret:okta_token}"}))

    done = call(*VERIFY)

    assert done.code == 1
    assert "Test failed  b\n" in done.out
    assert "secret `token` is not bound" in done.out
    assert "Test failed  c\n" in done.out
    assert "secret `okta_token` is not bound" in done.out
    assert "error: 2 of 3 webhooks are not verified; nothing was applied" in done.err
    assert okta.requests == []
    assert asyncio.run(folder.names()) == (0, [])


def test_json_lists_the_tests_of_a_success_and_of_a_failure(folder: Folder, call: Call, okta: Okta) -> None:
    """One document on stdout either way, the same in --json-into."""
    folder.write(hook("a"))
    good = call(*VERIFY, "--format", "json", "--json-into", "good.json")
    folder.write(hook("a"), hook("b"))
    okta.script(Line(flow=alias("b"), status=404))
    bad = call(*VERIFY, "--format", "json", "--json-into", "bad.json")
    plain = call("apply", "--auto-approve", "--format", "json")

    assert (good.code, good.json["revision"], bad.code, bad.json["revision"]) == (0, 1, 1, None)
    (passed,), (failed,) = good.json["verification"], bad.json["verification"]
    assert (passed["webhook"], passed["successful"], passed["check"]) == ("a", True, [])
    assert (failed["webhook"], failed["successful"], failed["response"]["status"]) == ("b", False, 404)
    assert failed["check"]
    assert passed.keys() == failed.keys()
    assert json.loads((folder.path / "good.json").read_text()) == good.json
    assert json.loads((folder.path / "bad.json").read_text()) == bad.json
    assert "verification" not in plain.json


def test_a_saved_plan_is_verified_when_it_is_applied(folder: Folder, call: Call, okta: Okta) -> None:
    """A failed test leaves it usable."""
    folder.write(hook("a"))
    assert call("plan", "--out", "plan.json").code == 0
    okta.script(Line(status=503))

    assert call("apply", "--plan", "plan.json", "--verify").code == 1
    assert asyncio.run(folder.names()) == (0, [])
    assert call("apply", "--plan", "plan.json", "--verify").code == 0
    assert asyncio.run(folder.names()) == (1, ["a"])


def test_an_apply_between_the_tests_and_the_transaction_wins(
    folder: Folder, call: Call, okta: Okta, command_env: dict[str, str]
) -> None:
    """The base is compared after the tests, as always: exit 4, nothing of the loser's."""
    folder.write(hook("a"))
    assert call("apply", "--auto-approve").code == 0
    folder.write(hook("a"), hook("b"))
    okta.script(Line(flow=alias("b"), status=200, delay=3))
    process = verifying(folder, command_env)
    okta.wait_for_requests(1)

    folder.write(hook("a"), hook("c"))
    assert call("apply", "--auto-approve").code == 0

    out, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    assert "Test successful  b" in out
    assert asyncio.run(folder.names()) == (2, ["a", "c"])


def test_an_interrupt_during_the_tests_applies_nothing(folder: Folder, okta: Okta, command_env: dict[str, str]) -> None:
    """Ctrl-C once, while a receiver is silent."""
    folder.write(hook("a"))
    okta.script(Line(drop=True))
    process = verifying(folder, command_env)
    okta.wait_for_requests(1)

    process.send_signal(signal.SIGINT)

    _, err = process.communicate(timeout=30)
    assert (process.returncode, "interrupted" in err) == (130, True)
    assert not (folder.path / "reconciler.db").exists()


@pytest.mark.parametrize(("answer", "code", "sent"), [("no", 1, 0), ("yes", 0, 1)])
def test_nothing_is_sent_before_it_is_approved(
    folder: Folder, okta: Okta, command_env: dict[str, str], answer: str, code: int, sent: int
) -> None:
    """The plan, the question, the test, the apply."""
    folder.write(hook("a"))
    terminal = Terminal(folder.path, with_operator(command_env), "--verify")
    terminal.wait_for_prompt()
    before = len(okta.requests)

    assert terminal.type(f"{answer}\n") == code
    terminal.close()

    assert (before, len(okta.requests)) == (0, sent)
    assert asyncio.run(folder.names())[0] == sent


def test_many_webhooks_of_one_flow_are_tested_at_its_pace(folder: Folder, call: Call, okta: Okta) -> None:
    """Twelve on a flow that answers 429 to the eleventh of a second; another flow does not wait for them."""
    folder.write(*(hook(f"hook-{number:02}", flow=SHARED) for number in range(12)), hook("a"))

    done = call(*VERIFY)

    assert done.code == 0, done.out
    assert Counter(request.status for request in okta.requests) == {200: 13}
    times = [request.time for request in okta.requests if request.flow == SHARED]
    assert times[-1] - times[0] >= 1000 * 11 / 9 - 100
    assert alias("a") in [request.flow for request in okta.requests[:12]]


def test_a_limit_of_an_unchanged_webhook_holds_for_the_flow_that_they_share(
    folder: Folder, call: Call, okta: Okta
) -> None:
    """Two a second, said by a webhook that is not tested."""
    slow = hook("slow", flow=SHARED, rate_limit={"per_second": 2, "burst": 1})
    folder.write(slow)
    assert call("apply", "--auto-approve").code == 0
    folder.write(slow, *(hook(name, flow=SHARED) for name in "ab"))

    assert call(*VERIFY).code == 0
    first, second = (request.time for request in okta.requests)
    assert second - first >= 400


def test_no_secret_is_printed(folder: Folder, call: Call, okta: Okta, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is sent, and masked in the report of a success and of a failure."""
    monkeypatch.setenv("OKTA_TOKEN", TOKEN)
    bindings = folder.path / "secrets.yaml"
    bindings.write_text(f"okta_token: {{from: 'env:OKTA_TOKEN', hosts: [{HOST}]}}\n")
    bindings.chmod(0o600)
    folder.write(hook("secret", headers={"x-api-client-token": "${secret:okta_token}"}))
    okta.script(Line(status=500, body=f"you sent {TOKEN}"), Line(status=500))

    failed = call(*VERIFY, "--secrets", "secrets.yaml")
    as_json = call(*VERIFY, "--secrets", "secrets.yaml", "--format", "json")
    good = call(*VERIFY, "--secrets", "secrets.yaml", "--format", "json")

    assert (failed.code, as_json.code, good.code) == (1, 1, 0)
    assert [request.status for request in okta.requests] == [500, 500, 200], "the flow answers 401 to another token"
    for called in (failed, as_json, good):
        assert TOKEN not in called.out + called.err
    assert "you sent" in failed.out
