"""Webhooks as a large company would declare them, made up by number: the same number gives the same manifest.

Used by the benchmarks beside this file. A manifest has about 1.5 KB; every third has a template that no other has, the
rest share those of twelve teams.
"""

from pathlib import Path
from typing import Final

TEAMS: Final = 12
TRIGGERS: Final = ("RequestCreated", "RequestApproved", "RequestRejected", "RequestGranted", "RequestExpired")
FIELDS: Final = (
    "data.requester.email",
    "data.requester.name",
    "data.requester.id",
    "data.friendly_id",
    "data.justification",
    "data.access_groups.[0].integration.name",
    "data.access_groups.[0].integration.type",
    "data.access_groups.[0].resource_types.[0].name",
    "data.access_groups.[0].access_units.[0].resource.path",
    "data.access_groups.[0].access_units.[0].permission.name",
    "data.approvals.[0].approver.email",
)


def manifest(number: int, *, edition: int = 0) -> str:
    """The manifest of webhook `number`; another `edition` has another title, timeout and label."""
    team = number % TEAMS
    host = f"team-{team:02d}.workflows.okta.com" if number % 2 else f"hooks-{team:02d}.example.com"
    path = f"api/flo/{number * 2654435761 % 2**64:016x}{number:016x}/invoke"
    return f"""\
# Access requests of project {number} for the people of team {team}.
apiVersion: reconciler/v1
kind: Webhook
metadata:
  name: {name(number)}
  title: Access requests of project {number}, edition {edition}
  labels: {{team: team-{team:02d}, cost_center: "{4000 + team}", edition: "e{edition}"}}
spec:
  status: {"inactive" if number % 50 == 0 else "active"}
  method: POST
  url: https://{host}/{path}
  headers:
    x-api-client-token: ${{secret:team_{team:02d}_token}}
    x-project: project-{number}
  triggers: [{", ".join(TRIGGERS[: 1 + number % len(TRIGGERS)])}]
  filters:
    integration:
      type: [Postgresql, Mysql]
      name: ["project-{number}-*", "!*-scratch"]
    resource: ["*/project-{number}/*"]
  timeout_in_sec: {20 + edition % 10}
  retry: {{max_attempts: 8, give_up_after: 48h}}
  body_template: |
{_template(number if number % 3 == 0 else -1 - team)}"""


def name(number: int) -> str:
    """The name of webhook `number`; names sort as numbers do."""
    return f"project-{number:06d}"


def write_manifests(folder: Path, count: int, *, changed: int = 0) -> None:
    """Write one file a webhook, a thousand to a folder; `changed` of them, evenly spread, in their next edition."""
    every = count // changed if changed else count + 1
    for number in range(count):
        file = folder / f"{number // 1000:03d}" / f"{name(number)}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        edition = int(number % every == every - 1)
        file.write_text(manifest(number, edition=edition), "utf-8")


def _template(seed: int) -> str:
    lines = [f'"field {index} of {seed}": "{{{{{field}}}}}"' for index, field in enumerate(FIELDS)]
    body = ",\n        ".join(lines)
    return f"""\
    {{
      "event": "{{{{event_type}}}}",
      "at": "{{{{event_time}}}}",
      "source": "template {seed}",
      "fields": {{
        {body}
      }}
    }}
"""
