"""Property 5: a plan is a function of the manifests and the live state, and of nothing else on the machine."""

import base64
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from property_set import ManifestSet, loadable_sets, webhook
from property_store import StoreRoom

SCRIPT = Path(__file__).with_name("plan_process.py")


@dataclass(frozen=True)
class Surroundings:
    """What differs from one machine to the next: environment, how many files in what order, where, how many cores."""

    env: Mapping[str, str]
    files: int
    folder: str
    cores: int | None = None


SURROUNDINGS = (
    Surroundings({"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8"}, 1, "plain"),
    Surroundings({"PYTHONHASHSEED": "1", "TZ": "Asia/Kathmandu", "LC_ALL": "C", "COLUMNS": "40"}, 2, "b - é/x", 1),
    Surroundings(
        {"PYTHONHASHSEED": "4242", "TZ": "EST5EDT", "LC_ALL": "tr_TR.UTF-8", "PYTHONIOENCODING": "latin-1"}, 3, "c", 2
    ),
    Surroundings(
        {"PYTHONHASHSEED": "7", "TZ": "Pacific/Apia", "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        5,
        "d" * 60,
    ),
)


def planned(around: Surroundings, env: Mapping[str, str], jobs: list[tuple[Path, Path]], cache: Path) -> list[str]:
    """What a process in these surroundings prints for each (store, folder of manifests)."""
    cores = sorted(os.sched_getaffinity(0))[: around.cores]
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        input=json.dumps([[f"sqlite:///{store}", str(folder)] for store, folder in jobs]).encode(),
        env={**env, "XDG_CACHE_HOME": str(cache), **around.env},
        capture_output=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout.decode().splitlines()


def plans_everywhere(
    folder: Path, env: Mapping[str, str], cases: list[tuple[ManifestSet, ManifestSet]], rand: random.Random
) -> list[list[str]]:
    """For each case, which is what is live and what is declared, what is printed in each of the surroundings."""
    stores = []
    for number, (live, _) in enumerate(cases):
        (folder / f"{number}").mkdir()
        room = StoreRoom(folder / f"{number}")
        plan = room.plan(live)
        if not plan.refusals:
            room.apply(plan)
        room.close()
        stores.append(room.path)
    printed = []
    for around in SURROUNDINGS:
        place = folder / around.folder
        for number, (_, declared) in enumerate(cases):
            order = rand.sample(range(len(declared.webhooks) + 1), len(declared.webhooks) + 1)
            declared.write(place / str(number), order, files=around.files)
        jobs = [(store, place / str(number)) for number, store in enumerate(stores)]
        printed.append(planned(around, env, jobs, folder / f"cache-{around.files}"))
    return [list(outputs) for outputs in zip(*printed, strict=True)]


@pytest.fixture(scope="module")
def clean_env() -> dict[str, str]:
    """The environment without what the surroundings set."""
    set_here = {name for around in SURROUNDINGS for name in around.env} | {"LANG", "CI", "NO_COLOR", "FORCE_COLOR"}
    return {key: value for key, value in os.environ.items() if key not in set_here and not key.startswith("RECONC")}


@settings(max_examples=3, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # to shrink costs a minute a step
@given(
    st.lists(st.tuples(loadable_sets(owners=("",)), loadable_sets(owners=("",))), min_size=6, max_size=6),
    st.randoms(use_true_random=False),
)
def test_property_05_plans_are_the_same_bytes_whatever_the_surroundings(
    clean_env: dict[str, str], cases: list[tuple[ManifestSet, ManifestSet]], rand: random.Random
) -> None:
    """Order and number of files, their folder, hash seed, time zone, locale, the terminal's encoding and width; text,
    JSON and Markdown, changes of all kinds, refused plans and those with warnings."""
    with TemporaryDirectory() as folder:
        for outputs in plans_everywhere(Path(folder), clean_env, cases, rand):
            assert len(set(outputs)) == 1
            done, document = json.loads(outputs[0])
            assert {code for code, _ in done} <= {0, 3}
            assert base64.b64decode(done[1][1]) == base64.b64decode(document)


def test_property_05_plans_are_the_same_bytes_whatever_the_number_of_workers(
    clean_env: dict[str, str], tmp_path: Path
) -> None:
    """A set that two processes judge where there are two cores, and one where there is one; `é` in a title that not
    every encoding can say."""
    body = json.dumps({f"field {n}": "{{event_type}} " + "x" * 90 for n in range(60)})
    hooks = [webhook(f"hook-{n:03}", metadata={"title": "é日"}, body_template=body) for n in range(90)]
    live = ManifestSet("", tuple(hooks[:80]), {})
    declared = ManifestSet("", tuple(hooks[10:]), {})
    assert sum(map(len, declared.texts())) > 2 * 256 * 1024

    (outputs,) = plans_everywhere(tmp_path, clean_env, [(live, declared)], random.Random(5))

    assert len(set(outputs)) == 1
    [(code, text), *_], _ = json.loads(outputs[0])
    assert code == 0
    assert "Plan: 10 to add, 0 to change, 10 to destroy." in base64.b64decode(text).decode("utf-8")
    assert "é日" in base64.b64decode(text).decode("utf-8")
