"""The Project's folder of partials: the texts that bodies may include by `{{> name}}`.

Called by `manifest.project`, and by `manifest.origin`. A file's name without its suffix is the partial's name; one in a
subfolder is called `folder/name`. Nothing outside the folder is read, whatever links lead there: a pull request could
name any file else.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reconciler.errors import Problem, Severity
from reconciler.manifest.file import read_text

FILES_MAX: Final = 1_000  # a folder of partials holds a few dozen
BYTES_MAX: Final = 4 * 1024 * 1024


def read_partials(folder: Path) -> tuple[dict[str, str], list[Problem]]:
    """The texts of a folder's partials by name, sorted, and a problem for each file that cannot be one. Hidden files
    are passed over."""
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    files: dict[str, Path] = {}
    size = 0
    for file in sorted(_files_in(folder)):
        name = _name_of(file, folder)
        text, problem = _read(file, folder)
        size += len(text)
        # 1. unreadable, 2. a second file of the name, 3. too much of it
        if problem is None and name in files:
            hint = "names are compared without their suffix"
            problem = _problem(file, f"another file has this partial's name: {files[name].name}", hint)
        elif problem is None and (len(files) >= FILES_MAX or size > BYTES_MAX):
            hint = f"at most {FILES_MAX:,} files with {BYTES_MAX // 1024 // 1024} MiB in all"
            return texts, [*problems, _problem(file, "the folder of partials is too large", hint)]
        if problem is not None:
            problems.append(problem)
        else:
            texts[name], files[name] = text, file
    return texts, problems


def partial_file(folder: Path, name: str) -> Path | None:
    """The file that a partial of a sound folder was read from."""
    return next((file for file in _files_in(folder) if _name_of(file, folder) == name), None)


def _name_of(file: Path, folder: Path) -> str:
    return file.relative_to(folder).with_suffix("").as_posix()


def _files_in(folder: Path) -> Iterator[Path]:
    """The files in a folder and its subfolders; links to folders are not followed."""
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(where) / name for name in names if not name.startswith("."))


def _read(file: Path, folder: Path) -> tuple[str, Problem | None]:
    if not file.resolve().is_relative_to(folder.resolve()):
        return "", _problem(file, f"the partial lies outside of its folder: {file}", "put the file itself there")
    return read_text(str(file))


def _problem(file: Path, message: str, hint: str) -> Problem:
    return Problem(Severity.ERROR, "project.partials", message, file=str(file), hint=hint)
