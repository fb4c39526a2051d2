"""`validate`, `schema` and `explain` as a pipeline runs them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from manifest_text import manifest

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


def test_the_example_manifests_are_valid_without_a_warning(reconciler: Run) -> None:
    """What the repository shows must pass as shown."""
    done = reconciler("validate", str(ROOT / "manifests"))

    assert done.stdout == f"{ROOT / 'manifests'}: 4 webhooks, all valid\n"
    assert done.stderr == ""


def test_problems_and_a_summary_go_to_stdout_and_the_exit_is_one(reconciler: Run, tmp_path: Path) -> None:
    """Warnings are counted beside errors."""
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "a.yaml").write_text(
        manifest("timeout_in_sec: 0\nmax_hold: 0s\nwhen: data.grantee.id == 'a'", name="a")
    )

    done = reconciler("validate", code=1)

    assert "error[field.range]: manifests/a.yaml:8:19: `timeout_in_sec` must be at least 1: 0" in done.stdout
    assert done.stdout.endswith("\n2 errors and 1 warning in 1 file\n")
    assert done.stderr == ""


def test_a_warning_alone_exits_zero(reconciler: Run, tmp_path: Path) -> None:
    """It is shown and counted."""
    (tmp_path / "a.yaml").write_text(manifest("when: data.grantee.id == 'a'"))

    assert reconciler("validate", "a.yaml").stdout.endswith("a.yaml: 1 webhook, all valid, 1 warning\n")


def test_the_json_report_has_its_documented_shape(reconciler: Run, tmp_path: Path) -> None:
    """format_version, valid, counts, diagnostics with ranges counted from 1; nothing else on stdout."""
    (tmp_path / "a.yaml").write_text(manifest("heders: {}"))

    report = json.loads(reconciler("validate", "--format", "json", "a.yaml", code=1).stdout)

    assert report == {
        "format_version": "1.0",
        "valid": False,
        "error_count": 1,
        "warning_count": 0,
        "diagnostics": [
            {
                "severity": "error",
                "code": "field.unknown",
                "summary": "unknown key: heders",
                "detail": "unknown keys are errors",
                "path": "spec.heders",
                "hint": "did you mean `headers`?",
                "range": {
                    "filename": "a.yaml",
                    "start": {"line": 8, "column": 3},
                    "end": {"line": 8, "column": 9},
                },
            }
        ],
    }


def test_an_error_never_exits_zero_in_json(reconciler: Run) -> None:
    """A missing PATH is an error in every format."""
    report = json.loads(reconciler("validate", "--format", "json", "absent", code=1).stdout)

    assert [diagnostic["code"] for diagnostic in report["diagnostics"]] == ["file.missing"]


def test_variables_come_from_flags_and_files(reconciler: Run, tmp_path: Path) -> None:
    """--var wins over --var-file."""
    (tmp_path / "a.yaml").write_text(manifest("timeout_in_sec: ${var:t}\nmax_hold: ${var:h}"))
    (tmp_path / "vars.yaml").write_text("t: 900\nh: 5m\n")

    reconciler("validate", "a.yaml", "--var-file", "vars.yaml", "--var", "t=20")
    assert "must be at most 65: 900" in reconciler("validate", "a.yaml", "--var-file", "vars.yaml", code=1).stdout


def test_a_binding_file_makes_unbound_secrets_warnings(reconciler: Run, tmp_path: Path) -> None:
    """With --secrets, validate says what the daemon would say."""
    (tmp_path / "a.yaml").write_text(manifest("headers: {x-a: '${secret:one}', x-b: '${secret:two}'}"))
    (tmp_path / "secrets.yaml").write_text("one: {from: env:ONE, hosts: [hooks.example.com]}\n")
    (tmp_path / "secrets.yaml").chmod(0o600)

    done = reconciler("validate", "a.yaml", "--secrets", "secrets.yaml")

    assert "warning[secret.unbound]" in done.stdout
    assert "two" in done.stdout and "not bound: one" not in done.stdout


def test_schemas_are_written_and_their_staleness_is_told(reconciler: Run, tmp_path: Path) -> None:
    """--check writes nothing and exits 1 for what is stale or missing."""
    assert "missing" in reconciler("schema", "--out", "out", "--check", code=1).stdout
    assert not (tmp_path / "out").exists()

    reconciler("schema", "--out", "out")
    reconciler("schema", "--out", "out", "--check")
    (tmp_path / "out" / "event.schema.json").write_text("{}")

    assert "event.schema.json: not up to date" in reconciler("schema", "--out", "out", "--check", code=1).stdout


def test_explain_prints_a_table_and_the_same_as_json(reconciler: Run) -> None:
    """Path, type, since and meaning."""
    table = reconciler("explain", "event").stdout
    rows = json.loads(reconciler("explain", "event", "--format", "json").stdout)

    assert table.splitlines()[0].split() == ["PATH", "TYPE", "SINCE", "MEANING"]
    assert {
        "path": "data.requester.email",
        "type": "string or number",
        "meaning": "requester's e-mail address",
    }.items() <= next(row for row in rows if row["path"] == "data.requester.email").items()
    assert len(table.splitlines()) == len(rows) + 1
