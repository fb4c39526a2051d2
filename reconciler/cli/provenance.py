"""Who applies, and from which commit: what a revision and the audit log say about their origin.

Called by `plan --out`, `apply` and whatever else changes a store. Nothing here fails a command: without git, or outside
a repository, there is no commit.
"""

import getpass
import os
import pwd
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from reconciler.models.audit import Warrant

GIT_TIMEOUT_SECONDS: Final = 5.0  # `git status` of a folder takes milliseconds; a hanging network disk must not hold us
ACTOR_VARIABLES: Final = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILDKITE_BUILD_CREATOR", "CIRCLE_USERNAME")
COMMIT_VARIABLES: Final = ("GITHUB_SHA", "CI_COMMIT_SHA", "BUILDKITE_COMMIT", "CIRCLE_SHA1", "GIT_COMMIT")


def applied_by(given: str | None) -> str:
    """`--as`, else the person a pipeline works for, else user@host."""
    return given or _first_variable(ACTOR_VARIABLES) or f"{_user()}@{socket.gethostname()}"


def warrant(given: str | None, reason: str = "") -> Warrant:
    """What the audit log says of whoever runs this command: the system's user, whatever the environment calls him; for
    whom he says that he acts; and why. Behind a daemon his token takes the user's place."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        user = str(os.getuid())
    return Warrant(f"{user}@{socket.gethostname()}", applied_by(given), reason, time.time_ns() // 1_000_000)


def commit_of(paths: Sequence[Path], given: str | None) -> str | None:
    """`--commit`, else the commit that the manifests' folder has checked out, else what the pipeline says.

    A commit whose manifests were edited, or are not in it at all, ends with `-dirty`, as in `git describe`.
    """
    return given or _checked_out(paths) or _first_variable(COMMIT_VARIABLES)


def _first_variable(names: Sequence[str]) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        return str(os.getuid())


def _checked_out(paths: Sequence[Path]) -> str | None:
    folder = next((path if path.is_dir() else path.parent for path in paths), None)
    commit = _git(folder, "rev-parse", "--verify", "HEAD") if folder else None
    if not commit:
        return None
    changed = _git(folder, "status", "--porcelain", "--", *(str(path.absolute()) for path in paths))
    return f"{commit}-dirty" if changed else commit


def _git(folder: Path | None, *args: str) -> str | None:
    """What git prints, or None if it cannot say."""
    command = ["git", "-c", "core.fsmonitor=false", *args]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=GIT_TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None
