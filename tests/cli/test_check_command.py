"""`check` as people and pipelines call it: what is run, which exit code, and that it needs nobody."""

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler import jsontext
from reconciler.cli.main import run
from reconciler.models.corpus import complete_event
from reconciler.models.webhook import Trigger

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "testing.md").read_text("utf-8")
HOOK = """\
apiVersion: reconciler/v1
kind: Webhook
metadata: {name: NAME}
spec:
  url: https://hooks.example.com/in
  triggers: [RequestCreated]
  body_template: {id: "{{data.friendly_id}}"}
"""
TEST = """\
apiVersion: reconciler/v1
kind: WebhookTest
metadata: {name: NAME}
spec: {webhook: HOOK, sample: RequestCreated, expect: {body: {id: AR-123}}}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `manifests/`, where no socket can be opened."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("`check` opened a socket")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(socket, "socket", refuse)
    (tmp_path / "manifests").mkdir()
    return tmp_path / "manifests"


def write(place: Path, *documents: str) -> None:
    (place / "all.yaml").write_text("---\n".join(documents))


def hook(name: str) -> str:
    return HOOK.replace("NAME", name)


def case(name: str, webhook: str, expected: str = "AR-123") -> str:
    return TEST.replace("NAME", name).replace("HOOK", webhook).replace("AR-123", expected)


def test_tests_that_pass_exit_with_zero_and_leave_nothing_behind(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No store is made, no network is used."""
    write(place, hook("a"), case("first", "a"))

    assert run(["check"]) == 0
    assert capsys.readouterr().out == "ok       first  a\n\n1 passed, 0 failed\n"
    assert [path.name for path in place.parent.iterdir()] == ["manifests"]


def test_a_test_that_fails_exits_with_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(place, hook("a"), case("first", "a"), case("second", "a", "AR-124"))

    assert run(["check"]) == 1
    assert capsys.readouterr().out.endswith("\n1 passed, 1 failed\n")


def test_an_invalid_webhook_fails_and_the_others_tests_are_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that is wrong is told in one run."""
    write(place, hook("a"), hook("b").replace("url:", "uri:"), case("of-a", "a"), case("of-b", "b"))

    assert run(["check"]) == 1
    out = capsys.readouterr().out
    assert "error[field.unknown]: manifests/all.yaml:13:3: unknown key: uri" in out
    assert "ok       of-a  a\nnot run  of-b  b  (there is an error in it, or in its webhook)\n" in out
    assert out.endswith("\n1 passed, 0 failed, 1 not run\n")


def test_a_body_that_cannot_be_rendered_for_a_built_in_event_fails_without_any_test(place: Path) -> None:
    """What `validate` rehearses, `check` does too."""
    write(place, hook("a").replace("{{data.friendly_id}}", "{{truncate data.friendly_id -1}}"))

    assert run(["check"]) == run(["validate"]) == 1


@pytest.mark.parametrize("arguments", [["none/"], ["--var", "x"], ["--target", "nobody"]])
def test_what_cannot_be_done_exits_with_one(place: Path, arguments: list[str]) -> None:
    write(place, hook("a"), case("first", "a"))

    assert run(["check", *arguments]) == 1


def test_a_usage_error_exits_with_64(place: Path) -> None:
    assert run(["check", "--format", "toml"]) == 64


def test_without_tests_it_says_so_and_exits_with_zero(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(place, hook("a"))

    assert run(["check"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, "WebhookTest" in shown.err) == ("0 passed, 0 failed\n", True)


def test_a_folder_without_manifests_is_warned_of(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error must not read as "all passed"."""
    assert run(["check"]) == 0
    assert "warning[set.empty]: manifests: there is no manifest here" in capsys.readouterr().out


def test_a_target_narrows_to_the_tests_of_its_webhooks(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(place, hook("a"), hook("b"), case("of-a", "a"), case("of-b", "b", "wrong"))

    assert run(["check", "--target", "a*"]) == 0
    assert "of-b" not in capsys.readouterr().out
    assert run(["check", "--target", "a*", "--format", "junit"]) == 0
    assert "of-b" not in capsys.readouterr().out


def test_a_webhook_without_a_test_fails_where_tests_are_required(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(place, hook("a"), hook("b"), case("of-a", "a"))

    assert run(["check"]) == 0
    assert run(["check", "--require-tests"]) == 1
    assert "error[check.untested]: manifests/all.yaml:11: the webhook has no test: b" in capsys.readouterr().out
    assert run(["check", "--require-tests", "--target", "a"]) == 0


def test_variables_stand_in_tests_as_in_webhooks(place: Path) -> None:
    write(place, hook("a").replace("hooks.", "${var:env}."), case("first", "a").replace("AR-123", '"${var:id}"'))

    assert run(["check", "--var", "env=eu", "--var", "id=AR-123"]) == 0
    assert run(["check", "--var", "env=eu", "--var", "id=AR-124"]) == 1


def test_the_json_report_has_its_documented_shape(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `validate` reports, the counts, and each test with what differs; nothing else on stdout."""
    write(place, hook("a"), case("first", "a", "AR-124"))

    assert run(["check", "--format", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    (test,) = report["tests"]
    assert (report["valid"], report["passed"], report["failed"], report["not_run"]) == (True, 0, 1, 0)
    assert (test["name"], test["webhook"], test["outcome"], test["line"]) == ("first", "a", "failed", 11)
    assert test["failures"] == [
        {
            "expectation": "body",
            "where": "$.id",
            "message": "another value",
            "expected": '"AR-124"',
            "actual": '"AR-123"',
            "notes": [],
            "expected_at": {
                "filename": "manifests/all.yaml",
                "line": 12,
                "column": 64,
                "path": "spec.expect.body.id",
            },
            "comes_from": {
                "filename": "manifests/all.yaml",
                "line": 7,
                "column": 23,
                "path": "spec.body_template.id",
            },
        }
    ]


def test_a_body_from_the_projects_defaults_is_placed_there(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line that wrote it is in another document than the webhook."""
    defaults = "spec: {defaults: {body_template: {id: x}}}\n"
    (place / "project.yaml").write_text(f"apiVersion: reconciler/v1\nkind: Project\n{defaults}")
    write(place, hook("a").replace('  body_template: {id: "{{data.friendly_id}}"}\n', ""), case("first", "a"))

    assert run(["check"]) == 1
    assert re.search(r'\+ "x" +manifests/project\.yaml:3:39', capsys.readouterr().out)


def test_many_differences_are_counted_and_the_first_shown(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = ", ".join(f"k{number}: 1" for number in range(80))
    write(place, hook("a"), case("first", "a").replace("id: AR-123", body))

    assert run(["check"]) == 1
    out = capsys.readouterr().out
    assert out.count("it is missing") == 50
    assert "         and 31 more\n" in out


def test_a_long_value_is_shown_where_it_begins_to_differ(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = "x" * 5_000, "y" * 5_000
    template = hook("a").replace("{{data.friendly_id}}", before + "{{data.friendly_id}}" + after)
    write(place, template, case("first", "a", before + "AR-124" + after))

    assert run(["check"]) == 1
    out = capsys.readouterr().out
    assert "AR-124yyy" in out
    assert "AR-123yyy" in out
    assert max(map(len, out.splitlines())) < 250


def test_a_thousand_tests_take_seconds(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each webhook is compiled once, each file read once; failing tests are placed file by file."""
    hooks = [hook(f"hook-{number}") for number in range(100)]
    passing = [case(f"test-{number}", f"hook-{number % 100}") for number in range(500)]
    failing = [case(f"test-{number}", f"hook-{number % 100}", "x") for number in range(500, 1000)]
    write(place, *hooks, *passing, *failing)

    begin = time.process_time()
    assert run(["check"]) == 1
    assert time.process_time() - begin < 15
    first = capsys.readouterr().out
    assert first.endswith("\n500 passed, 500 failed\n")

    assert run(["check"]) == 1  # this time the webhooks are remembered as valid
    assert capsys.readouterr().out == first


def test_the_projects_own_tests_pass_and_plan_passes_them_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("NO_COLOR", "1")

    assert run(["check"]) == 0
    assert capsys.readouterr().out.endswith("\n4 passed, 0 failed\n")
    assert run(["plan", "--store", f"sqlite:///{tmp_path / 'none.db'}"]) == 0
    assert "Plan: 4 to add" in capsys.readouterr().out


@pytest.fixture
def documented(tmp_path: Path) -> Iterator[Path]:
    """The example of docs/testing.md beside the project's webhooks."""
    (example,) = re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL)
    for file in (ROOT / "manifests").glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text("utf-8"))
    (tmp_path / "example.yaml").write_text(example)
    yield tmp_path


def test_the_documented_example_passes(documented: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(documented)]) == 0
    assert "\n1 passed, 0 failed\n" in capsys.readouterr().out


def test_the_documented_failure_is_what_is_shown(
    documented: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's lines but for the name, the places in the test and how wide the columns are."""
    monkeypatch.setenv("NO_COLOR", "1")
    file = documented / "example.yaml"
    file.write_text(file.read_text("utf-8").replace("approved_by: noa.bar@", "approved_by: noa@"))

    run(["check", str(documented)])

    out = capsys.readouterr().out
    assert 'body_contains $.approved_by: another value\n           - "noa@example.com"      ' in out
    assert f'+ "noa.bar@example.com"  {documented / "okta-postgres-production.yaml"}:31:22' in out


def test_the_documented_event_is_the_built_in_one() -> None:
    (shown,) = re.findall(r"```json\n(.*?)\n```", DOC, re.DOTALL)

    assert shown == jsontext.pretty(complete_event(Trigger.REQUEST_APPROVED))
