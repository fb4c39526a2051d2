"""What `check` shows for each kind of failure, in each format, as files. RECONCILER_REGENERATE=1 writes them anew."""

import json
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from reconciler.cli.main import run

GOLDEN = Path(__file__).parent / "golden_check"
NAMES = {"text": "text.txt", "json": "json.json", "junit": "junit.xml", "github": "github.txt"}


@pytest.fixture(autouse=True)
def _place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize("output_format", NAMES)
def test_the_report_is_what_the_golden_file_shows(output_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each difference with its path in the body, its place in the test and the line that wrote it; exit 1."""
    code = run(["check", ".", "--format", output_format])

    text, file = capsys.readouterr().out, GOLDEN / NAMES[output_format]
    if os.environ.get("RECONCILER_REGENERATE"):
        file.write_text(text, "utf-8")
    assert code == 1
    assert text == file.read_text("utf-8")


def test_all_formats_count_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """The summary, the JSON and the test report agree on what failed."""
    run(["check", ".", "--format", "json"])
    report = json.loads(capsys.readouterr().out)
    run(["check", ".", "--format", "junit"])
    root = ElementTree.fromstring(capsys.readouterr().out.split("\n", 1)[1])
    run(["check", "."])
    last = capsys.readouterr().out.splitlines()[-1]

    failed = {case.get("name") for case in root.iter("testcase") if case.find("failure") is not None}
    assert last == f"{report['passed']} passed, {report['failed']} failed, {report['not_run']} not run"
    assert failed == {f"test.{test['name']}" for test in report["tests"] if test["outcome"] != "passed"}
    assert root.get("failures") == str(report["failed"] + report["not_run"])


@pytest.mark.parametrize("output_format", NAMES)
def test_nothing_that_a_body_says_reaches_a_terminal_or_a_runner(
    output_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An escape sequence, a bidi control and a runner's command in an event are spelt out."""
    run(["check", ".", "--format", output_format])

    text = capsys.readouterr().out
    assert "why" in text
    assert not {"\x1b", "\u202e"} & set(text)
    assert "##[" not in text
