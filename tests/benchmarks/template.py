"""Rendering time of body templates, beside other engines in the same run: `python tests/benchmarks/template.py`.

Not run by pytest. The Python engines come with `pip install -e '.[bench]'`; Handlebars in JavaScript is measured where
node finds it (`npm install --no-save handlebars@4.7`, in this folder or one above it, or NODE_PATH). Rounds are
interleaved and the best of each engine counts, in CPU time, so that a busy machine changes the ratios little. Exits 1
if an engine in pure Python comes closer than TARGET.
"""

import importlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from reconciler import jsontext
from reconciler.models.corpus import corpus
from reconciler.models.webhook import Trigger
from reconciler.template import compile_template

TARGET: Final = 8.0  # times the fastest engine in pure Python
ROUNDS: Final = 9
ROUND_SECONDS: Final = 0.1

OKTA: Final = """{
  "fields": {
    "event type": "{{event_type}}",
    "event time": "{{event_time}}",
    "requestor email": "{{data.requester.email}}",
    "integration name": "{{data.access_groups.[0].integration.name}}",
    "resource type": "{{data.access_groups.[0].resource_types.[0].name}}",
    "access units": "{{data.access_groups.[0].access_units.[0].resource.name}}"
  }
}
"""
NESTED: Final = """{
  "request": {"id": "{{data.id}}", "friendly_id": "{{data.friendly_id}}", "type": "{{event_type}}"},
  "requester": {"id": "{{data.requester.id}}", "name": "{{data.requester.name}}", "email": "{{data.requester.email}}"},
  "justification": "{{data.justification}}",
  "flow": {{#if data.access_flow}}"{{data.access_flow.name}}"{{else}}null{{/if}},
  "groups": [{{#each data.access_groups}}
    {
      "integration": "{{integration.name}}", "type": "{{integration.type}}", "number": "{{@index}}",
      "units": [{{#each access_units}}
        {
          "resource": "{{resource.name}}", "path": "{{resource.path}}", "kind": "{{resource.type.display_path}}",
          "permission": "{{permission.name}}", "of": "{{../integration.id}}", "request": "{{@root.data.friendly_id}}"
        }{{#unless @last}},{{/unless}}{{/each}}
      ]
    }{{#unless @last}},{{/unless}}{{/each}}
  ],
  "approvals": "{{data.approvals_logical_relation}}"
}
"""
JAVASCRIPT: Final = """
const Handlebars = require('handlebars');
const {templates, event, seconds} = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const times = {};
for (const [name, text] of Object.entries(templates)) {
  const template = Handlebars.compile(text);
  let best = Infinity;
  for (let round = 0; round < 9; round++) {
    const began = process.hrtime.bigint();
    let count = 0;
    while (Number(process.hrtime.bigint() - began) < seconds * 1e9) {
      for (let i = 0; i < 50; i++) template(event);
      count += 50;
    }
    best = Math.min(best, Number(process.hrtime.bigint() - began) / 1e3 / count);
  }
  times[name] = best;
}
process.stdout.write(JSON.stringify(times));
"""

Render = Callable[[], str]


def main() -> int:
    """Measure, write the table, and say whether the target is met, or that nothing was there to measure it against."""
    event = jsontext.dumps(dict(corpus(Trigger.REQUEST_APPROVED))["complete"])
    templates = {"okta": OKTA, "two nested #each": NESTED}
    javascript = _javascript(templates, event)
    _say(f"{'template':<18} {'engine':<24} {'µs':>9} {'times ours':>11}")
    ratios = []
    for name, text in templates.items():
        engines = _engines(text, event)
        for render in engines.values():
            json.loads(render())  # whatever is measured gives JSON for this event
        times = _measure(engines)
        ours = times["reconciler"]
        ratios += [microseconds / ours for engine, microseconds in times.items() if engine != "reconciler"]
        for engine, microseconds in {**times, **_if_there("handlebars (node)", javascript.get(name))}.items():
            _say(f"{name:<18} {engine:<24} {microseconds:>9.2f} {microseconds / ours:>11.1f}")
    is_met = all(ratio >= TARGET for ratio in ratios)
    verdict = "not measured" if not ratios else "met" if is_met else "missed"
    _say(f"target: at least {TARGET:g} times the fastest engine in pure Python: {verdict}")
    return 0 if is_met else 1


def _engines(text: str, event: str) -> dict[str, Render]:
    """A call of each engine that is installed, each with the event as it wants it."""
    ours, kept, plain = compile_template(text), jsontext.loads(event), json.loads(event)
    engines: dict[str, Render] = {"reconciler": lambda: ours.render(kept)}
    if (module := _imported("pydantic_handlebars")) is not None:
        pydantic = module.compile(text)
        engines["pydantic-handlebars"] = lambda: pydantic.render(plain)
    if (module := _imported("dotpromptz_handlebars")) is not None:
        dotpromptz = module.Handlebars().compile(text)
        engines["dotpromptz-handlebars"] = lambda: dotpromptz(plain)
    return engines


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        _say(f"{name} is not installed", error=True)
        return None


def _measure(engines: Mapping[str, Render]) -> dict[str, float]:
    """The best CPU microseconds of each engine, their rounds in turn."""
    best = dict.fromkeys(engines, float("inf"))
    for _ in range(ROUNDS):
        for engine, render in engines.items():
            began, count = time.process_time(), 0
            while time.process_time() - began < ROUND_SECONDS:
                for _ in range(20):
                    render()
                count += 20
            best[engine] = min(best[engine], (time.process_time() - began) * 1e6 / count)
    return best


def _javascript(templates: Mapping[str, str], event: str) -> dict[str, float]:
    """The best microseconds of Handlebars in node; empty where there is none."""
    node = shutil.which("node")
    if node is None:
        _say("node is not installed", error=True)
        return {}
    given = json.dumps({"templates": templates, "event": json.loads(event), "seconds": ROUND_SECONDS})
    done = subprocess.run(
        [node, "-e", JAVASCRIPT], input=given, capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    if done.returncode:
        _say("node finds no handlebars: npm install --no-save handlebars@4.7", error=True)
        return {}
    times: dict[str, float] = json.loads(done.stdout)
    return times


def _if_there(name: str, value: float | None) -> dict[str, float]:
    return {} if value is None else {name: value}


def _say(line: str, *, error: bool = False) -> None:
    (sys.stderr if error else sys.stdout).write(f"{line}\n")


if __name__ == "__main__":
    raise SystemExit(main())
