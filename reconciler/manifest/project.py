"""The project of a set: which of its files it stands in, what it says, and the partials that it names.

Called by `manifest.load` with the files that may hold one, before all others are judged under it.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from reconciler.errors import Problem
from reconciler.manifest.file import decode
from reconciler.manifest.parse import parse
from reconciler.manifest.partial import read_partials
from reconciler.manifest.place import Placer
from reconciler.manifest.validate import judge_project, kind_of
from reconciler.manifest.verdict import NO_PROJECT, FoundProject, ProjectFile
from reconciler.models.fault import Fault

_ONE_HINT: Final = "keep one for all manifests of an owner"
_FOLDER_HINT: Final = "name a folder beside or below the project's file, not a link that leads elsewhere"


def find_project(raws: Mapping[str, bytes], variables: Mapping[str, str]) -> FoundProject:
    """The project in files, given by name in their order with what they hold."""
    files = [file for name, raw in raws.items() for file in _projects_in(name, raw, variables)]
    if not files:
        return NO_PROJECT
    first, *others = files
    placer = Placer({file.document.file: file.text for file in files}, variables, first.document)
    project, faults, default_faults = judge_project(first.document.value)
    folder, name = None, project.spec.partials if project is not None else _partials_name(first, faults)
    if name is not None:
        folder = Path(first.document.file).parent / name
        fault = _folder_fault(folder, name, Path(first.document.file).parent)
        if fault is not None:
            faults.append(fault)
            project = folder = None
    partials, problems = read_partials(folder) if folder is not None else ({}, [])
    problems += _placed(placer, first, faults)
    problems += _placed(placer, first, default_faults, is_default=True)
    where = f"{first.document.file}:{first.document.line}:{first.document.column}"
    for other in others:
        fault = Fault("set.duplicate_project", ("kind",), f"a second Project; the first is at {where}", _ONE_HINT)
        problems += _placed(placer, other, [fault])
    return FoundProject(project, first, partials, tuple(problems))


def _projects_in(name: str, raw: bytes, variables: Mapping[str, str]) -> list[ProjectFile]:
    text, problem = decode(name, raw)
    if problem is not None:
        return []
    parsed = parse(name, text, variables)
    return [ProjectFile(item, text, parsed) for item in parsed.documents if kind_of(item.value) == "Project"]


def _partials_name(file: ProjectFile, faults: Iterable[Fault]) -> str | None:
    """What a faulty project calls its folder of partials, if that is sound. Its other faults take no partial away:
    bodies that include them are not to blame."""
    spec = file.document.value.get("spec")
    name = spec.get("partials") if isinstance(spec, Mapping) else None
    is_faulty = any(fault.path in ((), ("spec",), ("spec", "partials")) for fault in faults)
    return name if isinstance(name, str) and not is_faulty else None


def _folder_fault(folder: Path, name: str, home: Path) -> Fault | None:
    if not folder.is_dir():
        hint = "it is relative to this file"
        return Fault("project.partials", ("spec", "partials"), f"there is no such folder: {folder}", hint)
    if not folder.resolve().is_relative_to(home.resolve()):
        return Fault("project.partials", ("spec", "partials"), f"`partials` leaves the manifests: {name}", _FOLDER_HINT)
    return None


def _placed(
    placer: Placer, file: ProjectFile, faults: Iterable[Fault], *, is_default: bool = False
) -> Iterator[Problem]:
    """Faults as problems, but for those of a value that is at fault as YAML already."""
    for fault in faults:
        origin, path = placer.origin(file.document, fault, is_default=is_default)
        if not file.parsed.is_known(origin.index, path, on_key=fault.on_key):
            yield placer.problem(origin, path, fault)
