"""Other planners on as many objects as there are webhooks: octoDNS on TXT records, Terraform on `terraform_data`.

Used by `plan.py`. octoDNS comes with `pip install -e '.[bench]'` and Terraform from PATH; what is not there is not
measured. Both are given less than we are: records of 40 bytes, and resources without a provider behind them.
"""

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from process import Cost, measure

CHANGED: Final = "plan, 1 % changed"
NO_OP: Final = "plan, no change, warm"  # peers keep no cache, so that theirs is always the same
APPLY: Final = "apply of all"
VALIDATE: Final = "validate"
ZONE: Final = "example.com."
OCTODNS_CONFIG: Final = """\
providers:
  desired: {class: octodns.provider.yaml.YamlProvider, directory: ./desired}
  live: {class: octodns.provider.yaml.YamlProvider, directory: ./live}
zones:
  example.com.: {sources: [desired], targets: [live]}
"""

Costs = dict[str, Cost]


def peer_costs(folder: Path, count: int, *, seconds_max: float) -> dict[str, Costs]:
    """The costs of each peer that is installed, by step, once each."""
    found: dict[str, Costs] = {}
    if importlib.util.find_spec("octodns") is not None:
        found["octoDNS"] = _octodns_costs(_made(folder / "octodns"), count, seconds_max)
    terraform = shutil.which("terraform")
    if terraform is not None:
        found["terraform"] = _terraform_costs(_made(folder / "terraform"), terraform, count, seconds_max)
    return found


def _octodns_costs(folder: Path, count: int, seconds_max: float) -> Costs:
    (folder / "config.yaml").write_text(OCTODNS_CONFIG)
    (folder / "live").mkdir()
    env = dict(os.environ)

    def run(command: str, *args: str) -> Cost:
        code = f"from octodns.cmds.{command} import main; main()"
        options = (sys.executable, "-c", code, "--config-file", "config.yaml", *args)
        return measure(options, folder=folder, env=env, seconds_max=seconds_max)

    _write_zone(folder, count)
    costs = {VALIDATE: run("validate"), APPLY: run("sync", "--doit", "--force"), NO_OP: run("sync")}
    _write_zone(folder, count, changed=max(1, count // 100))
    costs[CHANGED] = run("sync")
    return costs


def _write_zone(folder: Path, count: int, *, changed: int = 0) -> None:
    _made(folder / "desired")
    records = (
        f"project-{number:06d}:\n  type: TXT\n  value: project {number} edition {int(number < changed)}\n"
        for number in range(count)
    )
    (folder / "desired" / f"{ZONE}yaml").write_text("---\n" + "".join(records))


def _terraform_costs(folder: Path, terraform: str, count: int, seconds_max: float) -> Costs:
    settings = folder / "settings.tfrc"
    settings.write_text("")  # the user's own might name mirrors
    env = {**os.environ, "TF_CLI_CONFIG_FILE": str(settings), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}

    def run(*args: str, code: int = 0) -> Cost:
        return measure((terraform, *args), folder=folder, env=env, code=code, seconds_max=seconds_max)

    _write_resources(folder, count)
    run("init", "-input=false", "-no-color")  # built in: nothing is downloaded
    costs = {VALIDATE: run("validate", "-no-color")}
    costs[APPLY] = run("apply", "-auto-approve", "-input=false", "-no-color")
    costs[NO_OP] = run("plan", "-input=false", "-no-color", "-detailed-exitcode")
    _write_resources(folder, count, changed=max(1, count // 100))
    costs[CHANGED] = run("plan", "-input=false", "-no-color", "-detailed-exitcode", code=2)
    return costs


def _write_resources(folder: Path, count: int, *, changed: int = 0) -> None:
    resources = {f"project-{number:06d}": {"input": _input(number, int(number < changed))} for number in range(count)}
    document = {"resource": {"terraform_data": resources}}
    (folder / "main.tf.json").write_text(json.dumps(document))


def _input(number: int, edition: int) -> Mapping[str, object]:
    return {"url": f"https://hooks.example.com/{number}", "title": f"edition {edition}", "triggers": ["RequestCreated"]}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
