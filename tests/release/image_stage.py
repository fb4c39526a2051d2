"""The Dockerfile as values, and its first stage run without an engine: `python tests/release/image_stage.py FOLDER`.

`.ci/run` runs it, with the index closed. The image's own paths stand below FOLDER.
"""

import io
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
SECONDS = 600


@dataclass
class Stage:
    """One `FROM` with what follows it: (instruction, value), continued lines joined."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def values(self, instruction: str) -> list[str]:
        return [value for word, value in self.steps if word == instruction]


def stages() -> tuple[dict[str, str], list[Stage]]:
    """The arguments before the first stage, with their defaults, and the stages."""
    text = (ROOT / "Dockerfile").read_text()
    arguments: dict[str, str] = {}
    found: list[Stage] = []
    for step in DockerfileParser(fileobj=io.BytesIO(text.encode())).structure:
        word, value = step["instruction"], " ".join(step["value"].split())
        if word == "COMMENT":
            continue
        if word == "FROM":
            base, _, name = value.partition(" AS ")
            found.append(Stage(base, name))
        elif found:
            found[-1].steps.append((word, value))
        else:
            assert word == "ARG", word
            name, _, default = value.partition("=")
            arguments[name] = default
    return arguments, found


def is_ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path from the builder: the last pattern that matches it or a folder above it."""
    parts = path.split("/")
    names = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().split("\n"):
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!")
            below = pattern.removeprefix("**/")
            tails = [name.rpartition("/")[2] for name in names] if below != pattern else []
            if any(fnmatchcase(name, below) for name in (*names, *tails)):
                ignored = not line.startswith("!")
    return ignored


def copied(source: str) -> list[Path]:
    """The files of a COPY's source that reach the builder, from the project's folder on."""
    start = ROOT / source
    files = sorted(start.rglob("*")) if start.is_dir() else [start]
    relative = [path.relative_to(ROOT) for path in files if path.is_file()]
    return [path for path in relative if not is_ignored(path.as_posix())]


def run_first_stage(folder: Path) -> None:
    """Its COPY and RUN steps, with `/opt` and the working folder below `folder`."""
    work = folder / "build"
    work.mkdir(parents=True)
    for word, value in stages()[1][0].steps:
        if word == "COPY":
            *sources, target = value.split()
            for source in sources:
                is_folder = target.endswith("/")
                for path in copied(source):
                    inner = path.name if path == Path(source) else path.relative_to(source)
                    place = work / target / inner if is_folder or path != Path(source) else work / target
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(ROOT / path, place)
        elif word == "RUN":
            command = value.replace("/opt/", f"{folder}/opt/")
            subprocess.run(["sh", "-euc", command], cwd=work, check=True, timeout=SECONDS)


if __name__ == "__main__":
    run_first_stage(Path(sys.argv[1]).resolve())
