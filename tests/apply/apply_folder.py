"""A working folder with manifests and its store; shared by the tests of this folder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.models.webhook import Webhook
from reconciler.store.open import open_store


def document(name: str, metadata: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A webhook with what it must say, and what is given."""
    return {
        "apiVersion": "reconciler/v1",
        "kind": "Webhook",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"url": f"https://hooks.example.com/{name}", "triggers": ["RequestCreated"], **spec},
    }


def manifest(name: str, metadata: Mapping[str, Any] | None = None, **spec: Any) -> str:
    """It as a manifest; JSON is YAML."""
    return json.dumps(document(name, metadata, **spec))


def webhook(name: str, metadata: Mapping[str, Any] | None = None, **spec: Any) -> Webhook:
    """It as a model."""
    said = document(name, metadata, **spec)
    return Webhook.model_validate({"metadata": said["metadata"], "spec": said["spec"]}, strict=False)


@dataclass(frozen=True)
class Folder:
    """A working folder with `manifests/`."""

    path: Path

    def write(self, *documents: str, project: Mapping[str, Any] | None = None, file: str = "all.yaml") -> None:
        """Replace what `manifests/` declares."""
        if project is not None:
            documents = (
                *documents,
                json.dumps({"apiVersion": "reconciler/v1", "kind": "Project", "spec": dict(project)}),
            )
        (self.path / "manifests" / file).write_text("\n---\n".join(documents) or "# nothing\n", encoding="utf-8")

    def declare(self, *names: str) -> None:
        """Plain webhooks of these names."""
        self.write(*(manifest(name) for name in names))

    async def names(self) -> tuple[int, list[str]]:
        """The live revision and the live webhooks' names; 0 where there is no store."""
        store = open_store(f"sqlite:///{self.path}/reconciler.db", create=False)
        if store is None:
            return 0, []
        async with store:
            state = await store.live_state()
        return state.revision, [item.webhook.name for item in state.webhooks]


@dataclass(frozen=True)
class Called:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout."""
        return json.loads(self.out)
