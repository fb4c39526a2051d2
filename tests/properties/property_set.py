"""Manifest sets as hypothesis draws them: every kind of change between two of them, valid for the loader and the model.

Shared by the tests of this folder.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from reconciler.models.webhook import Policy, Project, ProjectSpec, Webhook
from reconciler.plan.plan import Desired

OWNERS = ("", "iam")
NAMES = ("a", "b", "c", "d", "e")
HOSTS = ("a.example.com", "b.example.com", "acme.workflows.okta.com")
PATH = "/api/flo/0123456789abcdef0123456789abcdef/invoke"
TEXTS = st.sampled_from(["", "x", "é", "no", "1e3", "12:30", " y ", "# z", "日本", "a: b", "- c"])
GLOBS = st.lists(st.sampled_from(["*", "db-*", "!*-test", "prod", "é?"]), min_size=1, max_size=2, unique=True)
BODIES = st.sampled_from(
    [
        '{"event": "{{event_type}}", "who": "{{data.requester.email}}"}',
        '{\n  "event": "{{event_type}}",\n  "id": "{{data.id}}"\n}\n',
        '{"id": {{data.id}}, "steps": [{"id": "1"}, {"id": "{{data.friendly_id}}"}]}',
        {"event": "{{event_type}}", "n": [1, True, None, "{{event_time}}"]},
        {"n": [1.0, True, None, "{{event_time}}"], "event": "{{event_type}}"},
    ]
)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these."""
    return st.fixed_dictionaries({}, optional=fields)


SPECS = optional(
    status=st.sampled_from(["active", "inactive"]),
    method=st.sampled_from(["POST", "PUT"]),
    headers=st.dictionaries(st.sampled_from(["x-b", "x-a", "x-c"]), st.sampled_from(["1", "${secret:one}"])),
    query=st.dictionaries(st.sampled_from(["q", "p"]), TEXTS),
    triggers=st.lists(st.sampled_from(["RequestCreated", "RequestFailed", "Manual"]), min_size=1, unique=True),
    filters=optional(
        integration=optional(type=GLOBS, name=GLOBS),
        resource=GLOBS,
        approval=st.sampled_from(["manual", "automatic"]),
        custom_fields=st.dictionaries(st.sampled_from(["team", "é"]), GLOBS),
    ),
    body_template=BODIES,
    timeout_in_sec=st.sampled_from([5, 30]),
    retry=optional(max_attempts=st.integers(1, 3), jitter=st.sampled_from([0, 0.5]), schedule=st.just(["1s", "2m"])),
    rate_limit=st.sampled_from(["unlimited", {"per_second": 2}, {"per_second": 2.0, "burst": 3}]),
    ordering=st.sampled_from(["request", "none"]),
)
METADATA = optional(
    title=TEXTS, labels=st.dictionaries(st.sampled_from(["team", "x"]), TEXTS), protect=st.sampled_from([True, False])
)
POLICIES = optional(
    max_delete_percent=st.sampled_from([50, 100]),
    required_labels=st.just(["team"]),
    allowed_hosts=st.sampled_from([list(HOSTS), ["*.example.com", "acme.workflows.okta.com"]]),
)


@dataclass(frozen=True)
class ManifestSet:
    """What one owner declares. `webhooks` are manifests without their `apiVersion` and `kind`."""

    owner: str
    webhooks: tuple[dict[str, Any], ...]
    policy: dict[str, Any]

    @property
    def models(self) -> tuple[Webhook, ...]:
        """The webhooks as the loader makes them."""
        return tuple(Webhook.model_validate(copy.deepcopy(said), strict=False) for said in self.webhooks)

    @property
    def desired(self) -> Desired:
        """What a plan is made from; the digest is another one for each other set."""
        policy = Policy.model_validate(self.policy, strict=False)
        spec = ProjectSpec(owner=self.owner, policy=policy)
        return Desired(self.models, Project(spec=spec), json.dumps([self.owner, self.webhooks, self.policy]))

    @property
    def canonical(self) -> dict[str, bytes]:
        """The canonical document of each webhook by name."""
        return {webhook.name: webhook.canonical() for webhook in self.models}

    def texts(self) -> list[str]:
        """The manifests, the project's last; JSON is YAML."""
        documents: list[Mapping[str, Any]] = [{"kind": "Webhook", **said} for said in self.webhooks]
        documents.append({"kind": "Project", "spec": {"owner": self.owner, "policy": self.policy}})
        return [json.dumps({"apiVersion": "reconciler/v1", **document}, ensure_ascii=False) for document in documents]

    def write(self, folder: Path, order: Sequence[int] = (), *, files: int = 1) -> None:
        """Write the manifests into new files of a new folder, in that order."""
        texts = self.texts()
        folder.mkdir(parents=True)
        for number in range(files):
            part = [texts[index] for index in (order or range(len(texts)))][number::files]
            (folder / f"{number}.yaml").write_text("\n---\n".join(part) or "# nothing\n", "utf-8")


def webhook(
    name: str, *, host: str = HOSTS[0], metadata: Mapping[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    """One of a set's webhooks."""
    return {
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"url": f"https://{host}{PATH}", "triggers": ["RequestCreated"], **spec},
    }


@st.composite
def manifest_sets(
    draw: st.DrawFn, *, owners: Sequence[str] = OWNERS, min_size: int = 0, has_conflicts: bool = True
) -> ManifestSet:
    """Some of five names, many with a `renamed_from` that may be a chain, a swap or, unless told otherwise, a conflict,
    which a plan refuses and the loader does not even take."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=min_size))
    olds = draw(st.permutations(NAMES))
    webhooks = []
    for name, old in zip(names, olds, strict=False):
        metadata = draw(METADATA)
        if draw(st.booleans()):
            metadata["renamed_from"] = draw(st.sampled_from([old, old, old, "a"])) if has_conflicts else old
        if metadata.get("renamed_from") == name:
            del metadata["renamed_from"]
        host, spec = draw(st.sampled_from(HOSTS)), draw(SPECS)
        if host.endswith(".workflows.okta.com"):
            spec.pop("method", None)  # which takes no PUT
        webhooks.append(webhook(name, host=host, metadata=metadata, **spec))
    return ManifestSet(draw(st.sampled_from(owners)), tuple(webhooks), draw(POLICIES))


def loadable_sets(**wanted: Any) -> st.SearchStrategy[ManifestSet]:
    """Sets that the loader takes without an error."""
    return manifest_sets(has_conflicts=False, **wanted)
