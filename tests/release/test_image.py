"""The Dockerfile: by hash, as nobody, with no secret; what it copies is there and is all that the builder sees.

No engine runs here: the first stage is run by `.ci/run` (`image_stage.py`), the second is judged as it stands.
"""

import json
import re
import shlex
import tomllib

import click
import pytest
from image_stage import ROOT, Stage, copied, is_ignored, stages

from reconciler.cli.main import cli
from reconciler.daemon import DRAIN_SECONDS

ARGUMENTS, STAGES = stages()
BUILD, FINAL = STAGES
SECRET = re.compile(r"(?i)token|secret|password|passwd|private|credential|api_?key")


def made(command: list[str]) -> click.Context:
    """A command line of ours, parsed by our own parser."""
    context = cli.make_context("reconciler", list(command))
    while isinstance(context.command, click.Group):
        name, found, args = context.command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        context = found.make_context(name, args, parent=context)
    return context


def variables(stage: Stage) -> dict[str, str]:
    """What ENV sets."""
    return dict(pair.split("=", 1) for value in stage.values("ENV") for pair in shlex.split(value))


def test_both_stages_stand_on_the_python_that_ci_tests_with() -> None:
    """On glibc; whoever builds puts the digest in its place."""
    assert [stage.base for stage in STAGES] == ["${PYTHON_IMAGE}", "${PYTHON_IMAGE}"]
    tested = re.search(r"machine that has only Python (\d+\.\d+) ", (ROOT / ".ci" / "run").read_text())
    assert tested and re.fullmatch(rf"python:{re.escape(tested[1])}-slim-[a-z]+", ARGUMENTS["PYTHON_IMAGE"])


def test_nothing_is_installed_but_by_hash_and_nothing_is_built_by_what_is_not() -> None:
    runs = " && ".join(BUILD.values("RUN"))
    installs = re.findall(r"pip (?:--python \S+ )?(?:install|wheel|download) .*?(?= && |$)", runs)

    by_hash = [text for text in installs if "--require-hashes" in text]
    ours = [text for text in installs if "--require-hashes" not in text]
    assert [re.findall(r"-r (\S+)", text) for text in by_hash] == [["requirements/build.txt"], ["requirements/run.txt"]]
    assert all("--only-binary :all:" in text for text in by_hash)
    assert len(ours) == 2 and all({"--no-index", "--no-deps"} <= set(text.split()) for text in ours)
    assert "--no-build-isolation" in ours[0]
    assert "pip" not in " ".join(FINAL.values("RUN"))
    assert [value.split()[0] for value in FINAL.values("COPY")] == ["--from=build"]


def test_what_is_copied_is_there_and_suffices_for_the_wheel() -> None:
    sources = [source for value in BUILD.values("COPY") for source in value.split()[:-1]]

    assert {source: bool(copied(source)) for source in sources} == dict.fromkeys(sources, True)
    assert {"pyproject.toml", "README.md", "LICENSE", "reconciler", "manifests"} <= set(sources)
    package = [path for path in (ROOT / "reconciler").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(ROOT) for path in package} == set(copied("reconciler"))


@pytest.mark.parametrize(
    "path",
    [
        *(".git/config", ".venv/bin/python", ".env", "secrets/tokens.yaml", "secrets.yaml", "tls.key", "plan.json"),
        *(
            "reconciler.db",
            "reconciler.db-wal",
            "manifests/reconciler.db",
            "reconciler/web/x.db.lock",
            "tests/served.py",
        ),
        *("reconciler/__pycache__/x.pyc", "requirements/test.txt", "docs/image/secrets.yaml"),
    ],
)
def test_what_the_image_needs_not_never_reaches_the_builder(path: str) -> None:
    assert is_ignored(path)


def test_no_secret_is_in_a_layer() -> None:
    """Neither as an argument, which the history shows, nor as a variable."""
    named = [name for stage in STAGES for value in stage.values("ARG") for name in value.split("=")[:1]]

    assert [name for name in (*ARGUMENTS, *named, *variables(BUILD), *variables(FINAL)) if SECRET.search(name)] == []
    assert FINAL.values("ADD") == BUILD.values("ADD") == []


def test_it_runs_as_nobody_over_a_folder_that_is_nobody_elses() -> None:
    """The number, not the name, since Kubernetes judges `runAsNonRoot` by it; nothing is done after it as root."""
    (user,) = FINAL.values("USER")
    words = [word for word, _ in FINAL.steps]
    (home,) = FINAL.values("VOLUME")

    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    assert not {"RUN", "COPY"} & set(words[words.index("USER") :])
    uid, gid = user.split(":")
    assert f"install --directory --mode 0700 --owner {uid} --group {gid} {home}" in FINAL.values("RUN")[0]
    assert FINAL.values("WORKDIR") == [home]
    assert variables(FINAL)["RECONCILER_STORE"].startswith(f"sqlite:///{home}/")


def test_its_commands_are_ours() -> None:
    """In the form without a shell, so that SIGTERM reaches the daemon."""
    entry, start = json.loads(FINAL.values("ENTRYPOINT")[0]), json.loads(FINAL.values("CMD")[0])
    (check,) = FINAL.values("HEALTHCHECK")
    health = json.loads(check.partition("CMD ")[2])

    assert made([*entry, *start][1:]).info_name == "run"
    assert made(health[1:]).info_name == "health"
    assert FINAL.values("STOPSIGNAL") == ["SIGTERM"]
    listens = next(option for option in made(["run"]).command.params if option.name == "listen")
    assert FINAL.values("EXPOSE") == [str(listens.default).rpartition(":")[2]]


def test_the_dockerfile_says_how_long_a_drain_takes() -> None:
    told = re.search(r"SIGTERM drains for up to (\d+) s", (ROOT / "Dockerfile").read_text())

    assert told and float(told[1]) == DRAIN_SECONDS


def test_an_sdist_has_what_makes_the_image() -> None:
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]

    assert {"Dockerfile", ".dockerignore", "compose.yaml", "requirements", ".ci"} <= set(targets["sdist"]["include"])
