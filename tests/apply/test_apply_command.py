"""`plan`, `apply`, `show` and `history` as pipelines use them, against a real store."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from apply_folder import Called, Folder, manifest

Call = Callable[..., Called]
TOKEN = {"headers": {"x-api-client-token": "${secret:okta}"}}


def live(folder: Folder) -> tuple[int, list[str]]:
    """The live revision and names."""
    return asyncio.run(folder.names())


def test_apply_twice_says_no_changes_and_writes_nothing(folder: Folder, call: Call) -> None:
    """The second apply makes no revision."""
    folder.declare("a", "b")

    first = call("apply", "--auto-approve")
    second = call("apply", "--auto-approve")

    assert first.out.endswith("\nApply complete! Resources: 2 added, 0 changed, 0 destroyed. Revision 1.\n")
    assert (second.code, second.out) == (0, "No changes. The live webhooks are what the manifests say.\n")
    assert live(folder) == (1, ["a", "b"])


def test_plan_creates_no_store(folder: Folder, call: Call) -> None:
    """Looking leaves no trace."""
    folder.declare("a")

    assert call("plan").code == 0
    assert call("plan", "--detailed-exitcode").code == 2
    assert [path.name for path in folder.path.iterdir()] == ["manifests"]


def test_the_detailed_exit_code_tells_changes_from_none(folder: Folder, call: Call) -> None:
    """2 only with the flag and only where there is something to apply, a policy included."""
    folder.declare("a")
    call("apply", "--auto-approve")

    assert call("plan", "--detailed-exitcode").code == 0
    folder.write(manifest("a"), project={"policy": {"max_delete_percent": 5}})
    assert call("plan", "--detailed-exitcode").code == 2
    assert call("apply", "--auto-approve").out.endswith("0 added, 0 changed, 0 destroyed. Revision 2.\n")
    assert call("plan", "--detailed-exitcode").code == 0


def test_a_refused_plan_is_shown_and_not_applied(folder: Folder, call: Call) -> None:
    """3 beats 2; the report is on stdout, the refusal with its numbers and the way out on stderr."""
    folder.declare(*(f"hook-{number}" for number in range(10)))
    call("apply", "--auto-approve")
    folder.declare("hook-0")

    plan = call("plan", "--detailed-exitcode")
    applied = call("apply", "--auto-approve")
    document = call("plan", "--format", "json")

    assert plan.code == applied.code == document.code == 3
    assert "Plan: 0 to add, 0 to change, 9 to destroy." in plan.out
    assert "9 of 10 webhooks (90.0 %); the limit is 30 %" in plan.err
    assert "--allow-deletes 9" in plan.err
    assert document.json["refusals"][0]["code"] == "too_many_deletes"
    assert document.json["applyable"] is False
    assert live(folder)[0] == 1
    assert call("apply", "--auto-approve", "--allow-deletes", "9").code == 0
    assert live(folder) == (2, ["hook-0"])


def test_an_empty_manifest_set_needs_its_flag(folder: Folder, call: Call) -> None:
    """Exit 3 in plan and apply, whatever is live."""
    folder.declare()

    assert call("plan").code == 3
    assert call("apply", "--auto-approve").code == 3
    assert call("plan", "--allow-empty").code == 0


def test_another_owners_webhook_is_neither_pruned_nor_taken(folder: Folder, call: Call) -> None:
    """Prune touches what this owner applied; a name of another is refused with the owner's name."""
    folder.write(manifest("theirs"), project={"owner": "platform"})
    call("apply", "--auto-approve")
    folder.write(manifest("mine"), project={"owner": "iam"})
    assert call("apply", "--auto-approve").code == 0
    folder.write(manifest("mine"), manifest("theirs"), project={"owner": "iam"})

    refused = call("apply", "--auto-approve")

    assert refused.code == 3
    assert "webhook.theirs belongs to owner `platform`" in refused.err
    assert live(folder) == (2, ["mine", "theirs"])


def test_protection_is_enforced_by_the_store(folder: Folder, call: Call) -> None:
    """Removing the manifest of a protected webhook is refused; lifting comes first, in an apply of its own."""
    folder.write(manifest("a", {"protect": True}), manifest("b"))
    call("apply", "--auto-approve")
    folder.declare("b")
    assert call("apply", "--auto-approve").code == 3
    folder.write(manifest("a", {"protect": False}), manifest("b"))
    assert call("apply", "--auto-approve").code == 0
    folder.declare("b")

    assert call("apply", "--auto-approve").code == 0
    assert live(folder) == (3, ["b"])


def test_a_target_narrows_plan_and_prune(folder: Folder, call: Call) -> None:
    """What it does not name is neither created nor destroyed; a name that nothing has is an error."""
    folder.declare("a", "b")
    call("apply", "--auto-approve")
    folder.declare("a", "c", "d")

    assert call("apply", "--auto-approve", "--target", "c").code == 0
    assert live(folder) == (2, ["a", "b", "c"])
    assert call("apply", "--auto-approve", "--target", "x*").code == 1


def test_a_saved_plan_is_applied_once_without_a_question(folder: Folder, call: Call) -> None:
    """It is its own approval; a second time is exit 4; the manifests no longer matter."""
    folder.declare("a")
    assert call("plan", "--out", "plan.json").code == 0
    folder.declare("something", "else")

    first = call("apply", "--plan", "plan.json")
    second = call("apply", "--plan", "plan.json")

    assert first.code == 0
    assert live(folder) == (1, ["a"])
    assert second.code == 4
    assert "applied already: revision 1" in second.err


def test_a_saved_plan_is_for_its_owners_eyes_and_whole(folder: Folder, call: Call) -> None:
    """Mode 0600, replaced in one step, nothing left beside it."""
    folder.declare("a")
    (folder.path / "plan.json").write_text("old")
    (folder.path / "plan.json").chmod(0o644)

    call("plan", "--out", "plan.json")

    assert stat.S_IMODE((folder.path / "plan.json").stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.path.iterdir()) == ["manifests", "plan.json"]


def test_a_stale_plan_is_refused_with_the_numbers(folder: Folder, call: Call) -> None:
    """Exit 4, and nothing changed, once the store has moved on; an empty saved plan is no exception."""
    folder.declare("a")
    call("apply", "--auto-approve")
    call("plan", "--out", "no-op.json")
    folder.declare("a", "b")
    call("plan", "--out", "stale.json")
    folder.declare("a", "c")
    call("apply", "--auto-approve")

    stale, no_op = call("apply", "--plan", "stale.json"), call("apply", "--plan", "no-op.json")

    assert (stale.code, no_op.code) == (4, 4)
    assert "from revision 1" in stale.err
    assert "2" in stale.err
    assert live(folder) == (2, ["a", "c"])


def test_a_saved_plan_never_takes_the_place_of_a_pipe_or_a_link(folder: Folder, call: Call) -> None:
    """`--out /dev/null` leaves /dev/null what it is; of a link, what it leads to is written."""
    folder.declare("a")
    os.mkfifo("pipe")
    Path("kept").mkdir()
    Path("link").symlink_to("kept/plan.json")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)  # a plan of one webhook fits the pipe's buffer

    assert [call("plan", "--out", name).code for name in ("pipe", "link")] == [0, 0]

    sent = os.read(reader, 1 << 20)
    os.close(reader)
    assert stat.S_ISFIFO(Path("pipe").lstat().st_mode)
    assert Path("link").is_symlink()
    assert json.loads(sent)["format"] == json.loads(Path("kept/plan.json").read_bytes())["format"] == "reconciler-plan"
    assert call("apply", "--plan", "link").code == 0


def test_a_plan_that_cannot_be_saved_is_told_by_the_name_that_was_given(folder: Folder, call: Call) -> None:
    """Not by that of a temporary file."""
    folder.declare("a")

    called = call("plan", "--out", "nowhere/plan.json")

    assert (called.code, called.err) == (1, "error: no such file or directory: nowhere/plan.json\n")


def test_where_the_report_cannot_go_is_told_before_anything_is_applied(folder: Folder, call: Call) -> None:
    """An apply that fails has changed nothing, with a saved plan too."""
    folder.declare("a")
    call("plan", "--out", "plan.json")

    direct = call("apply", "--auto-approve", "--json-into", "nowhere/report.json")
    saved = call("apply", "--plan", "plan.json", "--json-into", "nowhere/report.json")

    fact = "error: no such file or directory: nowhere/report.json\n"
    assert [(called.code, called.out, called.err) for called in (direct, saved)] == [(1, "", fact)] * 2
    assert live(folder) == (0, [])
    assert call("apply", "--plan", "plan.json", "--json-into", "report.json").code == 0
    assert json.loads(Path("report.json").read_text())["revision"] == 1


def test_a_report_that_is_lost_after_the_apply_does_not_hide_it(folder: Folder, call: Call) -> None:
    """The disk is full: the exit says that something failed, the words that the revision is there."""
    folder.declare("a")

    called = call("apply", "--auto-approve", "--json-into", "/dev/full")

    assert (called.code, called.err) == (
        1,
        "error: revision 1 is applied, but its report is not written: no space left on device\n",
    )
    assert live(folder) == (1, ["a"])


def test_a_plan_made_without_a_store_applies_only_while_there_is_none(folder: Folder, call: Call) -> None:
    """Two first plans: one wins."""
    folder.declare("a")
    call("plan", "--out", "first.json")
    call("plan", "--out", "second.json")

    assert call("apply", "--plan", "second.json").code == 0
    assert call("apply", "--plan", "first.json").code == 4
    assert live(folder)[0] == 1


def test_a_plan_of_another_store_is_stale(folder: Folder, call: Call) -> None:
    """The same revision number in another store is another state; a store that is gone is not made anew."""
    folder.declare("a")
    call("apply", "--auto-approve")
    call("apply", "--auto-approve", "--store", "sqlite:///other.db")
    folder.declare("a", "b")
    call("plan", "--out", "plan.json")

    assert call("apply", "--plan", "plan.json", "--store", "sqlite:///other.db").code == 4
    assert call("apply", "--plan", "plan.json", "--store", "sqlite:///gone.db").code == 4
    assert not (folder.path / "gone.db").exists()


def test_a_refused_saved_plan_is_refused_again(folder: Folder, call: Call) -> None:
    """`plan --out` keeps what refuses the plan; `show` says it and `apply` obeys."""
    folder.declare()

    assert call("plan", "--out", "plan.json").code == 3
    assert "declare 0 webhooks" in call("show", "--plan", "plan.json").err
    assert call("apply", "--plan", "plan.json").code == 3


def test_show_prints_what_plan_printed(folder: Folder, call: Call) -> None:
    """Byte for byte, in both formats."""
    folder.write(manifest("a", **TOKEN), manifest("b"))
    text, document = call("plan", "--out", "plan.json").out, call("plan", "--format", "json").out

    assert call("show", "--plan", "plan.json").out == text
    assert call("show", "--plan", "plan.json", "--format", "json").out == document


@pytest.mark.parametrize("content", ["", "{}", '{"format": "reconciler-plan", "format_version": 99}'])
def test_an_unreadable_plan_file_is_an_error(folder: Folder, call: Call, content: str) -> None:
    """Exit 1 with what is wrong."""
    (folder.path / "plan.json").write_text(content)

    assert call("apply", "--plan", "plan.json").code == 1
    assert call("show", "--plan", "plan.json").code == 1


def test_a_tampered_plan_file_is_an_error(folder: Folder, call: Call) -> None:
    """What was reviewed is what is applied."""
    folder.declare("a")
    call("plan", "--out", "plan.json")
    file = folder.path / "plan.json"
    file.write_text(file.read_text().replace("hooks.example.com", "evil.example.com"))

    tampered = call("apply", "--plan", "plan.json")

    assert tampered.code == 1
    assert "digest" in tampered.err
    assert live(folder)[0] == 0


@pytest.mark.parametrize(
    "args",
    [
        ("apply", "--plan", "plan.json", "manifests"),
        ("apply", "--plan", "plan.json", "--var", "a=b"),
        ("apply", "--plan", "plan.json", "--target", "a"),
        ("apply", "--plan", "plan.json", "--allow-deletes", "0"),
        ("apply", "--allow-deletes", "-1"),
        ("plan", "--no-such-option"),
        ("plan", "--format", "yaml"),
        ("show",),
    ],
)
def test_usage_errors_exit_64(call: Call, args: tuple[str, ...]) -> None:
    """click's own 2 would read as "there are changes"."""
    assert call(*args).code == 64


def test_without_a_terminal_nothing_is_done(folder: Folder, call: Call) -> None:
    """Exit 1 naming the flag, before the manifests are even read."""
    (folder.path / "manifests" / "bad.yaml").write_text("{")

    called = call("apply")

    assert called.code == 1
    assert called.out == ""
    assert "--auto-approve" in called.err
    assert "bad.yaml" not in called.err


def test_of_manifests_and_store_the_manifests_are_judged_first(folder: Folder, call: Call) -> None:
    """Both are looked at at the same time; what a person wrote is said before what a machine lacks."""
    (folder.path / "reconciler.db").write_text("no store")
    folder.declare("a")
    sound = call("plan")
    folder.write("apiVersion: reconciler/v1\nkind: Webhook\nmetadata: {name: a}\nspec: {}\n")
    faulty = call("plan")

    assert (sound.code, faulty.code) == (1, 1)
    assert "reconciler.db" in sound.err
    assert "reconciler.db" not in faulty.err
    assert "`url` is missing" in faulty.err


def test_invalid_manifests_and_missing_paths_exit_1(folder: Folder, call: Call) -> None:
    """An error never exits 0, in any format."""
    folder.write(manifest("a", method="NOPE"))

    assert call("plan", "--format", "json").code == 1
    assert call("apply", "--auto-approve").code == 1
    assert call("plan", "no-such-folder").code == 1
    assert live(folder)[0] == 0


def test_apply_as_json_is_one_document(folder: Folder, call: Call) -> None:
    """The plan's keys and the revision; nothing else on stdout."""
    folder.declare("a")

    made, nothing = (
        call("apply", "--auto-approve", "--format", "json"),
        call("apply", "--auto-approve", "--format", "json"),
    )

    assert made.json["revision"] == 1
    assert [item["change"]["actions"] for item in made.json["resource_changes"]] == [["create"]]
    assert nothing.json["revision"] is None
    assert [item["change"]["actions"] for item in nothing.json["resource_changes"]] == [["no-op"]]


def test_history_says_who_when_and_what(folder: Folder, call: Call) -> None:
    """Newest first, in text and JSON, by the person and the commit given."""
    folder.declare("a")
    call("apply", "--auto-approve", "--as", "ada", "--commit", "c0ffee")
    folder.declare("a", "b")
    call("apply", "--auto-approve", "--as", "grace")

    revisions = call("history", "--format", "json").json

    assert [(item["revision"], item["applied_by"], item["created"]) for item in revisions] == [
        (2, "grace", 1),
        (1, "ada", 1),
    ]
    assert revisions[1]["commit"] == "c0ffee"
    assert [line.split()[0] for line in call("history").out.splitlines()] == ["REVISION", "2", "1"]
    assert [item["revision"] for item in call("history", "--format", "json", "--before", "2").json] == [1]


def test_the_commit_is_that_of_the_manifests(
    folder: Folder, call: Call, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """git's HEAD where the manifests are, marked when they differ from it; a saved plan keeps the one it came from."""
    home = tmp_path_factory.mktemp("home")
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*args: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        done = subprocess.run(["git", *identity, *args], check=True, capture_output=True, text=True, env=env)
        return done.stdout.strip()

    folder.declare("a")
    git("init", "-q")
    git("add", "manifests")
    git("commit", "-qm", "one")
    commit = git("rev-parse", "HEAD")
    call("plan", "--out", "plan.json")
    git("commit", "-qm", "two", "--allow-empty")
    call("apply", "--plan", "plan.json")
    folder.declare("a", "b")
    call("apply", "--auto-approve")

    commits = [item["commit"] for item in call("history", "--format", "json").json]

    assert commits == [f"{git('rev-parse', 'HEAD')}-dirty", commit]


def test_a_pipeline_names_actor_and_commit_where_git_cannot(
    folder: Folder, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout without .git, or an image without git, is no failure."""
    monkeypatch.setenv("PATH", str(folder.path))
    monkeypatch.setenv("GITHUB_ACTOR", "octocat")
    monkeypatch.setenv("GITHUB_SHA", "f00d")
    folder.declare("a")

    call("apply", "--auto-approve")

    revision = call("history", "--format", "json").json[0]
    assert (revision["applied_by"], revision["commit"]) == ("octocat", "f00d")


def test_unbound_secrets_are_warned_of_where_the_binding_file_is(folder: Folder, call: Call) -> None:
    """With --secrets only: a pipeline without the file cannot judge."""
    folder.write(manifest("a", **TOKEN))
    secrets = folder.path / "secrets.yaml"
    secrets.write_text("okta: {from: env:OKTA, hosts: [elsewhere.example.com]}\n")
    secrets.chmod(0o600)

    unaware, aware = call("plan"), call("plan", "--secrets", "secrets.yaml")

    assert unaware.code == aware.code == 0
    assert "okta" not in unaware.err
    assert "webhook.a" in aware.err
    assert unaware.out == aware.out


def test_hostile_names_reach_neither_terminal_nor_log_as_they_are(folder: Folder, call: Call) -> None:
    """Control and bidi characters from a manifest are spelt out on stdout and stderr."""
    hostile = {"title": "\u202egnp.exe \u2028"}
    folder.write(manifest("a", hostile, body_template='{"a": "\u2066{{event_type}}"}'))
    good = call("plan")
    folder.write(manifest("a", hostile, body_template="\u2066{{event_type}}"))
    bad = call("plan")

    assert (good.code, bad.code) == (0, 1)
    for printed in (good.out, good.err, bad.out, bad.err):
        assert not set(printed) & set("\x1b\u202e\u2066\u2028\r")
    assert "\\u202egnp.exe" in good.out


NO_OP_IMPORTS = """
import sys
from reconciler.cli.main import run
code = run(["plan", "--detailed-exitcode"])
loaded = sorted({"deepdiff", "httpx", "httpcore", "rich", "uvicorn", "starlette", "jinja2"} & set(sys.modules))
sys.exit(f"loaded: {loaded}" if loaded else code)
"""


def test_a_no_op_plan_imports_neither_deepdiff_nor_httpx(folder: Folder, call: Call) -> None:
    """The commonest run of a pipeline pays for nothing it does not use."""
    folder.declare("a")
    call("apply", "--auto-approve")

    done = subprocess.run(
        [sys.executable, "-c", NO_OP_IMPORTS], cwd=folder.path, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_plans_are_the_same_bytes_in_any_environment(folder: Folder, call: Call, command_env: dict[str, str]) -> None:
    """Hash seed, locale, time zone and the spread over files make no difference, in text, JSON and Markdown."""
    body = {"body_template": '{"event": "{{event_type}}", "steps": [{"id": "1"}, {"id": "{{data.id}}"}]}'}
    folder.write(manifest("b", **body), manifest("c", **TOKEN), manifest("gone"))
    call("apply", "--auto-approve")
    body = {"body_template": body["body_template"].replace("{{data.id}}", "{{data.friendly_id}}")}
    documents = [
        manifest("a", **TOKEN),
        manifest("b", {"labels": {"x": "1", "y": "2"}}, **body, headers={"b": "1", "a": "2", "c": "3"}),
        manifest("c-too", url="https://hooks.example.com/c", **TOKEN),
    ]
    printed = set()
    for number, (zone, locale) in enumerate([("UTC", "C"), ("Asia/Kathmandu", "tr_TR.UTF-8"), ("EST5EDT", "C.UTF-8")]):
        folder.write()
        for position, text in enumerate(documents[number:] + documents[:number]):
            folder.write(text, file=f"{position}.yaml")
        env = {**command_env, "PYTHONHASHSEED": str(number), "TZ": zone, "LC_ALL": locale}
        for options in (("--json-into", "plan.json"), ("--format", "markdown")):
            command = [sys.executable, "-m", "reconciler", "plan", *options]
            done = subprocess.run(command, cwd=folder.path, env=env, capture_output=True, check=True)
            printed |= {done.stdout, (folder.path / "plan.json").read_bytes()}

    assert len(printed) == 3
    assert any(b"looks like webhook.c -> webhook.c-too" in text for text in printed)


def test_exit_codes_are_those_of_the_process(reconciler: Callable[..., Any], tmp_path: Path) -> None:
    """The table of the contract, by the command itself; reports are whole before the exit."""
    (tmp_path / "manifests").mkdir()
    file = tmp_path / "manifests" / "a.yaml"
    file.write_text(manifest("a"))

    reconciler("plan", code=0)
    assert json.loads(reconciler("plan", "--detailed-exitcode", "--format", "json", code=2).stdout)["applyable"]
    reconciler("apply", code=1)
    reconciler("plan", "--out", "plan.json", code=0)
    reconciler("apply", "--plan", "plan.json", code=0)
    reconciler("apply", "--plan", "plan.json", code=4)
    reconciler("apply", "--plan", "plan.json", "manifests", code=64)
    file.write_text("# nothing\n")
    assert json.loads(reconciler("plan", "--detailed-exitcode", "--format", "json", code=3).stdout)["refusals"]
    file.write_text("{")
    assert reconciler("plan", "--format", "json", code=1).stdout == ""
