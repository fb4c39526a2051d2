"""A working folder with manifests, a store and the command; shared by the tests of this folder."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.manifest.load import Manifests, load_manifests
from reconciler.models.revision import LiveState
from reconciler.store.base import Store
from reconciler.store.open import open_store


def hook(name: str, metadata: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A webhook's manifest: what it must say, and what is given."""
    return {
        "apiVersion": "reconciler/v1",
        "kind": "Webhook",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"url": f"https://hooks.example.com/{name}", "triggers": ["RequestCreated"], **spec},
    }


def project(**spec: Any) -> dict[str, Any]:
    """A project's manifest."""
    return {"apiVersion": "reconciler/v1", "kind": "Project", "spec": spec}


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


@dataclass(frozen=True)
class Room:
    """The folder, entered; `call` runs a command in this process, without a terminal."""

    path: Path
    call: Callable[..., Called]

    @property
    def url(self) -> str:
        """The store that commands use by default."""
        return f"sqlite:///{self.path}/reconciler.db"

    def declare(self, *documents: Mapping[str, Any], folder: str = "manifests") -> None:
        """Replace what a folder declares; JSON is YAML."""
        place = self.path / folder
        place.mkdir(exist_ok=True)
        for file in place.iterdir():
            file.unlink()
        (place / "all.yaml").write_text("\n---\n".join(json.dumps(document) for document in documents), "utf-8")

    def apply(self, *documents: Mapping[str, Any], code: int = 0, flags: tuple[str, ...] = ()) -> Called:
        """Declare these and apply them as ann."""
        if documents:
            self.declare(*documents)
        done = self.call("apply", "--auto-approve", "--as", "ann", *flags)
        assert done.code == code, f"{done.out}\n{done.err}"
        return done

    def done(self, *args: str, code: int = 0) -> Called:
        """A command that must end with this code."""
        done = self.call(*args)
        assert done.code == code, f"exit {done.code}\n{done.out}\n{done.err}"
        return done

    def loaded(self, text: str) -> Manifests:
        """What a text of manifests says, without an error."""
        file = self.path / "read-back.yaml"
        file.write_text(text, "utf-8")
        manifests = load_manifests([file])
        assert not [problem for problem in manifests.problems if problem.is_error], (manifests.problems, text)
        return manifests

    def edit_database(self, sql: str) -> int:
        """What a hand with access to the file can do; returns how many rows it touched."""
        db = sqlite3.connect(self.path / "reconciler.db")
        try:
            with db:
                return db.execute(sql).rowcount
        finally:
            db.close()

    async def live(self, number: int | None = None) -> LiveState:
        """The live state, or that of a revision."""
        async with self.store() as store:
            return await store.live_state(number)

    def store(self, *, create: bool = False) -> Store:
        """The store, to be entered."""
        opened = open_store(self.url, create=create)
        assert opened is not None
        return opened
