"""requirements/ pins what pyproject.toml asks for, by hash, for every machine; `.ci/lock` makes it."""

import base64
import hashlib
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
ASKED = {  # by file
    "run": [*PROJECT["project"]["dependencies"], *EXTRAS["uvloop"]],
    "test": [*PROJECT["project"]["dependencies"], *EXTRAS["test"]],
    "bench": [*PROJECT["project"]["dependencies"], *EXTRAS["test"], *EXTRAS["bench"]],
    "build": PROJECT["build-system"]["requires"],
    "lock": ["uv"],
}
MACHINES = [
    {
        "implementation_version": f"{python}.0",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "platform_machine": machine,
    }
    for python in ("3.11", "3.12", "3.13", "3.14")
    for machine in ("x86_64", "aarch64")
]
PIN = re.compile(r"(?P<pin>\S+==[^\s;]+(?: ; [^\\\n]+)?)(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)")


def text_of(name: str) -> str:
    """What stands in a file, without comments."""
    return re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "requirements" / f"{name}.txt").read_text())


def pins(name: str) -> list[tuple[Requirement, list[str]]]:
    """Each pin of a file, with its hashes."""
    return [(Requirement(found["pin"]), found["hashes"].split()[1::2]) for found in PIN.finditer(text_of(name))]


def held(name: str, machine: dict[str, str]) -> dict[str, str]:
    """The versions that a machine installs from a file."""
    where = {**default_environment(), **machine}
    kept = [pin for pin, _ in pins(name) if pin.marker is None or pin.marker.evaluate(where)]
    found = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in kept}
    assert len(found) == len(kept), "a name twice"
    return found


def test_each_use_has_its_file() -> None:
    """Whoever adds an extra says where it is pinned."""
    assert {path.name for path in (ROOT / "requirements").iterdir()} == {f"{name}.txt" for name in ASKED}
    assert set(EXTRAS) == {"uvloop", "test", "bench"}


@pytest.mark.parametrize("name", ASKED)
def test_every_line_is_a_pin_with_hashes_and_no_index_is_named(name: str) -> None:
    assert PIN.sub("", text_of(name)).strip() == ""
    assert "://" not in (ROOT / "requirements" / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", ASKED)
def test_everything_that_is_asked_for_is_pinned_to_a_version_that_suits(name: str) -> None:
    """On each Python and machine; mended by `.ci/lock`."""
    asked = [Requirement(text) for text in ASKED[name]]

    for machine in MACHINES:
        versions = held(name, machine)
        wrong = [
            f"{item} is {versions.get(canonicalize_name(item.name), 'missing')}"
            for item in asked
            if not item.specifier.contains(versions.get(canonicalize_name(item.name), "0a0"))
        ]
        assert wrong == [], f"`.ci/lock` renews the pins: {machine}"


@pytest.mark.parametrize("name", ASKED)
def test_what_the_pinned_ask_for_is_pinned_too(name: str) -> None:
    """As far as the very versions are installed here: an installation by hash takes nothing else."""
    versions = held(name, {})
    wanted = [(Requirement(text), {"extra": ""}) for text in ASKED[name]]
    judged = set()
    while wanted:
        item, extra = wanted.pop()
        if (str(item), extra["extra"]) in judged or (item.marker and not item.marker.evaluate(extra)):
            continue
        judged.add((str(item), extra["extra"]))
        version = versions.get(canonicalize_name(item.name), "missing")
        assert version != "missing" and item.specifier.contains(version, prereleases=True), f"{item}: {version}"
        try:
            found = Distribution.from_name(item.name)
        except PackageNotFoundError:
            continue
        if found.version == version:
            wanted += [
                (Requirement(text), {"extra": name}) for text in found.requires or () for name in ("", *item.extras)
            ]

    assert judged


def test_the_files_agree() -> None:
    """One version of everything, so that what was tested is what runs."""
    versions = {name: held(name, {}) for name in ASKED}

    for one in versions.values():
        for other in versions.values():
            assert {name: one[name] for name in one.keys() & other.keys()} == {
                name: other[name] for name in one.keys() & other.keys()
            }
    assert versions["run"].keys() - versions["test"].keys() == {"uvloop"}


def test_hashes_are_those_of_every_machines_files() -> None:
    """What is compiled has at least a file for each of two machines and the source."""
    compiled = []
    for pin, hashes in pins("run"):
        try:
            wheel = Distribution.from_name(pin.name).read_text("WHEEL") or ""
        except PackageNotFoundError:
            continue
        if "Root-Is-Purelib: false" in wheel and "none-any" not in wheel:
            compiled.append(pin.name)
            assert len(set(hashes)) >= 4, pin

    assert {"apsw", "cryptography", "orjson", "pydantic-core"} <= set(compiled)


def make_wheel(folder: Path) -> str:
    """A package of nothing; returns the file's SHA-256."""
    folder.mkdir()
    path = folder / "nothing-1.0-py3-none-any.whl"
    files = {
        "nothing-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: nothing\nVersion: 1.0\n",
        "nothing-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        record = ""
        for name, text in files.items():
            wheel.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(text)}\n"
        wheel.writestr("nothing-1.0.dist-info/RECORD", f"{record}nothing-1.0.dist-info/RECORD,,\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("pin", "is_fine"), [("nothing==1.0", True), ("nothing==2.0", False)], ids=["there", "not there"]
)
@pytest.mark.parametrize("is_intact", [True, False])
def test_the_pipeline_takes_only_what_its_hash_says(tmp_path: Path, pin: str, is_fine: bool, is_intact: bool) -> None:
    """And tells what else: whose fault, on which machine, and what mends it. `.ci/run`'s own function, on a folder."""
    digest = make_wheel(tmp_path / "index")
    (tmp_path / "requirements").mkdir()
    wanted = digest if is_intact else "0" * 64
    (tmp_path / "requirements" / "run.txt").write_text(f"{pin} \\\n    --hash=sha256:{wanted}\n")
    tools = tmp_path / "tools" / "bin"
    tools.mkdir(parents=True)
    (tools / "pip").write_text(f'#!/bin/sh\nexec {sys.executable} -m pip "$@"\n')
    (tools / "pip").chmod(0o755)
    script = f'eval "$(sed -n "/^download()/,/^}}/p" {ROOT}/.ci/run)"; scratch={tmp_path}; download run.txt'

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(tmp_path / "index"),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    taken = [path.name for path in (tmp_path / "files").glob("*")] if (tmp_path / "files").exists() else []
    if is_fine and is_intact:
        assert (done.returncode, taken) == (0, ["nothing-1.0-py3-none-any.whl"]), done.stderr
    else:
        assert (done.returncode, taken) == (1, [])
        assert re.search(r"requirements/ has no file for this machine, or one .*: Python 3\.\d+\.\d+ on ", done.stderr)
        assert "hint: it holds the wheels for Linux with glibc; `.ci/lock` renews it" in done.stderr
