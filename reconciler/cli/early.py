"""What a command that plans has begun before it is imported: its manifests and what is live, read by processes.

Made by `plan` and `apply` as soon as their options are read, handed on to what makes the plan. Imports little.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.manifest.ahead import Ahead
from reconciler.store.ahead import LiveAhead


@dataclass(frozen=True, slots=True)
class Early:
    """Both sides of a plan."""

    manifests: Ahead
    live: LiveAhead


@contextmanager
def begun(url: str, paths: Sequence[Path]) -> Iterator[Early]:
    """Begin with the manifests under `paths` and the store of a URL; that only where there are many manifests, since
    there are about as many live webhooks then. Leaves no process behind."""
    with Ahead.begin(paths) as manifests, LiveAhead.begin(url if manifests.part is not None else None) as live:
        yield Early(manifests, live)
