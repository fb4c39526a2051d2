"""README.md taken apart."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAME = (  # what differs from run to run
    (re.compile(r"\b(dlv|evt)_[0-9a-f]+"), r"\1_#"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:#"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z"), "#"),
)


@dataclass(frozen=True)
class Step:
    """A command that README.md shows, and what it says is printed."""

    command: str
    output: str


def blocks(kind: str) -> list[str]:
    """The fenced blocks of one kind, in order."""
    return [text for language, text in FENCED.findall(TEXT) if language == kind]


def prose() -> str:
    """What stands outside fenced blocks."""
    return FENCED.sub("", TEXT)


def table(first_header: str) -> list[list[str]]:
    """The cells of the table whose first column is called so, without its headers."""
    lines = TEXT[TEXT.index(f"\n| {first_header} |") + 1 :].split("\n\n")[0].split("\n")
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines[2:]]


def files() -> dict[str, str]:
    """The YAML blocks whose first line names a file."""
    named = ((re.match(r"# (\S+)\n", text), text) for text in blocks("yaml"))
    return {match[1]: text for match, text in named if match}


def steps() -> list[Step]:
    """Every command of the console blocks."""
    found: list[Step] = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append(Step(command, output))
    return found


def is_as_told(told: str, printed: str) -> bool:
    """Whether a command printed what README.md says: `…` stands for anything; ids, ports and times may differ."""
    for pattern, replacement in SAME:
        told, printed = pattern.sub(replacement, told), pattern.sub(replacement, printed)
    parts = (re.escape(part.strip()) for part in told.split("…"))
    return (
        re.fullmatch(r"\s*.*?\s*".join(parts) if "…" in told else re.escape(told.strip()), printed.strip(), re.S)
        is not None
    )


def write_files(folder: Path) -> None:
    """Every file that README.md shows."""
    for name, text in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(0o600)
