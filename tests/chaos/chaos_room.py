"""A store, a sandbox with the load's flows, and the daemon before them, to be killed and started again by the tests."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from chaos_ledger import arrivals_of, check_arrivals, check_order, check_store, unfinished
from chaos_load import Sender
from workshop import Process, Workshop, wait_until

FLOWS = 8
DAEMON = Path(__file__).with_name("chaos_daemon.py")


def alias(flow: int) -> str:
    """A sandbox flow's alias."""
    return f"{flow + 1:032x}"


def flow_manifest(flow: int, spec: str = "") -> str:
    """A webhook that wants its share of the load; failures come again soon."""
    return f"""\
apiVersion: reconciler/v1
kind: Webhook
metadata: {{name: flow-{flow}}}
spec:
  url: https://acme.workflows.okta.com/api/flo/{alias(flow)}/invoke
  triggers: [RequestCreated, RequestApproved, RequestGranted, RequestExpired]
  filters: {{integration: {{name: [flow-{flow}]}}}}
  rate_limit: unlimited
  retry: {{schedule: [0.2s, 0.5s, 1s], max_attempts: 50}}
{spec}"""


@dataclass
class Chaos:
    """A workshop with the load's flows, and the daemon that serves it just now."""

    workshop: Workshop
    transport: str = "fast"
    options: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    store_file: Path | None = None  # None: in the workshop's folder
    daemon: Process | None = None
    url: str = ""

    @property
    def store(self) -> Path:
        """The store's file."""
        return self.store_file or self.workshop.folder / "reconciler.db"

    def prepare(self, *, script: str = "", spec: str = "", flows: int = FLOWS) -> None:
        """Apply the flows, and start the sandbox with a script of faults."""
        texts = [flow_manifest(flow, spec) for flow in range(flows)]
        self.workshop.write("manifests/flows.yaml", "---\n".join(texts))
        self.workshop.write("script.jsonl", script)
        self.workshop.start_sandbox("--rate", "off", "--script", "script.jsonl")
        self.workshop.command("apply", "--auto-approve")

    def start(self) -> Process:
        """`run`, until it is ready."""
        where = replace(self.workshop, env={**self.workshop.env, **self.env})
        args = ("--listen", "127.0.0.1:0", "--transport", self.transport, *self.workshop.egress(), *self.options)
        self.daemon = where.start("run", *args)
        self.url = self.daemon.url()
        return self.daemon

    def start_scripted(self, *args: str) -> Process:
        """A daemon with what no option of `run` can give it; see chaos_daemon.py."""
        self.daemon = self.workshop.start_script(DAEMON, *self.workshop.egress(), "--transport", self.transport, *args)
        self.url = self.daemon.url()
        return self.daemon

    def sender(self, **options: int | float) -> Sender:
        return Sender(lambda: self.url, flows=FLOWS, **options)  # type: ignore[arg-type]

    def finish(self, timeout: float = 90) -> None:
        """Until no delivery is pending or in flight."""
        wait_until(lambda: not unfinished(self.store), timeout=timeout, what="the end of every delivery")

    def check(self, sender: Sender, *, is_clock_steady: bool = True) -> str:
        """Everything that must hold when all is delivered; the ledger in one line."""
        tries = check_store(self.store, sender.acknowledged, is_clock_steady=is_clock_steady)
        arrivals = arrivals_of(self.workshop.record())
        check_order(arrivals)
        ledger = check_arrivals(arrivals, tries, sender.acknowledged.values())
        self.workshop.write("ledger.txt", ledger)
        return ledger
