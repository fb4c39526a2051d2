"""Webhooks that change hands, saved plans on a store that moved on, and the other options of `plan` and `apply`."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from apply_folder import Called, Folder, manifest

from reconciler.store.open import open_store

Call = Callable[..., Called]


def owners(folder: Folder) -> dict[str, str]:
    """Who owns each live webhook."""

    async def read() -> dict[str, str]:
        store = open_store(f"sqlite:///{folder.path}/reconciler.db", create=False)
        assert store is not None
        async with store:
            return {item.webhook.name: item.owner for item in (await store.live_state()).webhooks}

    return asyncio.run(read())


def declare(folder: Folder, owner: str, *names: str, **spec: Any) -> None:
    """Plain webhooks of this owner."""
    folder.write(*(manifest(name, **spec) for name in names), project={"owner": owner})


def test_adopt_takes_a_webhook_over_once(folder: Folder, call: Call) -> None:
    """The name, uid and content stay; its former owner is told that it is another's; adopting again is no change."""
    declare(folder, "platform", "a", "b")
    call("apply", "--auto-approve")
    declare(folder, "iam", "a")

    assert call("apply", "--auto-approve").code == 3
    adopted = call("apply", "--auto-approve", "--adopt")
    again = call("apply", "--auto-approve", "--adopt")
    declare(folder, "platform", "a", "b")

    assert adopted.out.endswith("Resources: 0 added, 0 changed, 0 destroyed, 1 adopted. Revision 2.\n")
    assert again.out.startswith("No changes.")
    assert owners(folder) == {"a": "iam", "b": "platform"}
    assert "webhook.a belongs to owner `iam`" in call("plan").err
    assert call("history", "--format", "json").json[0]["adopted"] == 1


def test_the_history_says_what_a_revision_did_that_no_column_counts(folder: Folder, call: Call) -> None:
    """None reads as if it had done nothing: webhooks taken over or released, and the policy."""
    declare(folder, "platform", "a", "b")
    call("apply", "--auto-approve")
    declare(folder, "iam", "a")
    call("apply", "--auto-approve", "--adopt")
    folder.write(manifest("a"), project={"owner": "iam", "policy": {"allowed_hosts": ["hooks.example.com"]}})
    call("apply", "--auto-approve")
    declare(folder, "platform")
    call("apply", "--auto-approve", "--keep", "--allow-empty")

    _, released, policy, adopted, created = call("history").out.splitlines()

    assert released.endswith("0  1 forgotten")
    assert policy.endswith("0  policy changed")
    assert adopted.endswith("0  1 adopted")
    assert created.endswith("0  -")


def test_keep_releases_what_is_no_longer_declared(folder: Folder, call: Call) -> None:
    """It stays live and nobody's, is pruned by no later apply, and can be adopted again."""
    declare(folder, "iam", "a", "b")
    call("apply", "--auto-approve")
    declare(folder, "iam", "a")

    kept = call("apply", "--auto-approve", "--keep")
    after = call("plan", "--detailed-exitcode")
    released = owners(folder)
    declare(folder, "iam", "a", "b")
    back = call("apply", "--auto-approve", "--adopt")

    assert kept.out.endswith("Resources: 0 added, 0 changed, 0 destroyed, 1 forgotten. Revision 2.\n")
    assert after.code == 0
    assert released == {"a": "iam", "b": "nobody"}
    assert back.out.endswith("1 adopted. Revision 3.\n")
    assert owners(folder) == {"a": "iam", "b": "iam"}


def test_a_target_says_which_webhook_is_kept(folder: Folder, call: Call) -> None:
    """Of two that are gone from the manifests one is released, the other destroyed by the next apply."""
    folder.declare("a", "b", "c")
    call("apply", "--auto-approve")
    folder.declare("a")

    assert call("apply", "--auto-approve", "--keep", "--target", "b").code == 0
    assert call("apply", "--auto-approve").out.endswith("1 destroyed. Revision 3.\n")
    assert owners(folder) == {"a": "", "b": "nobody"}


def test_a_saved_plan_remembers_what_it_adopts_and_keeps(folder: Folder, call: Call) -> None:
    """The flags are settled in the file."""
    declare(folder, "platform", "a")
    call("apply", "--auto-approve")
    declare(folder, "iam", "b", "c")
    call("apply", "--auto-approve")
    declare(folder, "iam", "a", "b")
    call("plan", "--adopt", "--keep", "--out", "plan.json")

    assert call("apply", "--plan", "plan.json").code == 0
    assert owners(folder) == {"a": "iam", "b": "iam", "c": "nobody"}
    assert call("apply", "--plan", "plan.json", "--adopt").code == 64


def test_a_disjoint_plan_may_be_rebased_and_only_then(folder: Folder, call: Call) -> None:
    """The store moved on elsewhere: exit 4 without the flag, applied with it; where the plan's own webhook moved, or
    the plan was used, exit 4 with it too."""
    declare(folder, "iam", "a")
    call("apply", "--auto-approve")
    declare(folder, "iam", "a", method="PUT")
    call("plan", "--out", "mine.json")
    call("plan", "--out", "late.json")
    declare(folder, "platform", "other")
    call("apply", "--auto-approve")

    strict = call("apply", "--plan", "mine.json")
    rebased = call("apply", "--plan", "mine.json", "--rebase-if-disjoint")
    used = call("apply", "--plan", "mine.json", "--rebase-if-disjoint")
    late = call("apply", "--plan", "late.json", "--rebase-if-disjoint", "--format", "json")

    assert (strict.code, rebased.code, used.code, late.code) == (4, 0, 4, 4)
    assert "rebased from revision 1 to 2" in rebased.err
    assert rebased.out.endswith("0 added, 1 changed, 0 destroyed. Revision 3.\n")
    assert "applied already: revision 3" in used.err
    assert "webhook.a (changed by revision 3)" in late.err
    assert late.out == ""
    assert asyncio.run(folder.names()) == (3, ["a", "other"])


def test_a_rebased_plan_is_judged_again(folder: Folder, call: Call) -> None:
    """Three of twelve may go; once five others are gone, three of seven are too many, and the plan is shown."""
    names = [f"hook-{number:02}" for number in range(12)]
    project = {"policy": {"max_delete_percent": 30}}
    for declared, saved in ((names, False), (names[3:], True), (names[:10], False), (names[:7], False)):
        folder.write(*map(manifest, declared), project=project)
        code = call("plan", "--out", "plan.json").code if saved else call("apply", "--auto-approve").code
        assert code == 0

    refused = call("apply", "--plan", "plan.json", "--rebase-if-disjoint", "--json-into", "judged.json")

    document = json.loads((folder.path / "judged.json").read_text())
    assert refused.code == 3
    assert "deletes 3 of 7 webhooks (42.9 %); the limit is 30 %" in refused.err
    assert "# webhook.hook-00 will be destroyed" in refused.out
    assert (document["base_revision"], document["applyable"]) == (3, False)
    assert asyncio.run(folder.names())[0] == 3


@pytest.mark.parametrize("applies", [6])
async def test_disjoint_plans_applied_at_once_all_win(folder: Folder, call: Call, applies: int) -> None:
    """Each loser is rebased on the winner: nobody has to plan again."""
    from reconciler.apply import Provenance, apply_rebased, new_id, read_live
    from reconciler.models.webhook import Project, ProjectSpec, Webhook
    from reconciler.plan.plan import Desired, make_plan

    store = open_store(f"sqlite:///{folder.path}/reconciler.db", create=True)
    assert store is not None
    async with store:
        live, unfinished = await read_live(store)
        plans = []
        for number in range(applies):
            said = json.loads(manifest(f"hook-{number}"))
            webhook = Webhook.model_validate({"metadata": said["metadata"], "spec": said["spec"]}, strict=False)
            project = Project(spec=ProjectSpec(owner=f"owner-{number}"))
            plans.append(make_plan(Desired((webhook,), project, "digest"), live, unfinished=unfinished))
        by = Provenance("ada", 0, None)

        done = await asyncio.gather(*(apply_rebased(store, plan, plan_id=new_id(), by=by) for plan in plans))

        assert sorted(revision.number for _, revision in done if revision) == list(range(1, applies + 1))
        assert len((await store.live_state()).webhooks) == applies


def test_json_into_is_what_format_json_prints(folder: Folder, call: Call) -> None:
    """Beside text and Markdown, of a refused plan too; of an apply with its revision."""
    folder.declare("a")
    expected = call("plan", "--format", "json")

    shown = call("plan", "--json-into", "plan.json", "--format", "markdown")
    assert (folder.path / "plan.json").read_text() == expected.out
    assert shown.out.startswith("<!-- reconciler:plan:default -->\n### Plan: 1 to add")

    applied = call("apply", "--auto-approve", "--json-into", "apply.json")
    assert json.loads((folder.path / "apply.json").read_text())["revision"] == 1
    assert "Apply complete!" in applied.out

    folder.declare()
    assert call("plan", "--json-into", "refused.json").code == 3
    assert json.loads((folder.path / "refused.json").read_text())["errored"] is True


def test_json_into_takes_a_pipe(folder: Folder, call: Call) -> None:
    """`--json-into >(jq …)` is a file that cannot be replaced."""
    folder.declare("a")
    read_end, write_end = os.pipe()

    called = call("plan", "--json-into", f"/dev/fd/{write_end}")
    os.close(write_end)
    with os.fdopen(read_end, encoding="utf-8") as pipe:
        document = json.load(pipe)

    assert called.code == 0
    assert document["summary"]["add"] == 1


def test_markdown_takes_a_size_and_a_marker(folder: Folder, call: Call) -> None:
    """Bytes as they are printed; the marker is the first line."""
    folder.declare(*(f"hook-{number:03}" for number in range(200)))

    called = call("plan", "--format", "markdown", "--max-bytes", "9000", "--marker", "staging")

    assert called.code == 0
    assert len(called.out.encode()) <= 9000
    assert called.out.startswith("<!-- reconciler:plan:staging -->\n")
    assert "hook-199" in called.out


def test_show_prints_a_saved_plan_in_every_format_and_detail(folder: Folder, call: Call) -> None:
    """The same bytes as `plan` printed."""
    folder.declare("a")
    call("apply", "--auto-approve")
    folder.declare("a", "b")
    call("plan", "--out", "plan.json")

    for options in (("--format", "markdown"), ("--full",), ("--concise",), ("--context", "0")):
        assert call("show", "--plan", "plan.json", *options).out == call("plan", *options).out


@pytest.mark.parametrize(
    "args",
    [
        ("plan", "--concise", "--full"),
        ("plan", "--max-bytes", "5000"),
        ("plan", "--marker", "x"),
        ("plan", "--format", "markdown", "--max-bytes", "10"),
        ("plan", "--context", "-1"),
        ("apply", "--format", "markdown"),
        ("apply", "--rebase-if-disjoint", "--auto-approve"),
        ("apply", "--plan", "plan.json", "--keep"),
        ("show", "--plan", "plan.json", "--webhook", "a"),
        ("show", "--plan", "plan.json", "manifests"),
        ("show", "--effective"),
        ("show", "--webhook", "a", "--format", "markdown"),
    ],
)
def test_options_that_contradict_each_other_are_usage_errors(call: Call, args: tuple[str, ...]) -> None:
    """Nothing is read and nothing written."""
    assert call(*args).code == 64


def test_a_terminal_too_narrow_gets_old_and_new_on_two_lines(folder: Folder, command_env: dict[str, str]) -> None:
    """A long URL stays readable; in a pipe lines are never broken."""
    import pty
    import subprocess
    import sys

    folder.write(manifest("a", url=f"https://hooks.example.com/{'x' * 60}/old"))
    subprocess.run([sys.executable, "-m", "reconciler", "apply", "--auto-approve"], env=command_env, check=True)
    folder.write(manifest("a", url=f"https://hooks.example.com/{'x' * 60}/new"))
    main, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "reconciler", "plan"],
        env={**command_env, "COLUMNS": "120", "NO_COLOR": "1", "TERM": "xterm"},
        stdout=end,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(end)
    screen = b""
    try:
        while chunk := os.read(main, 4096):
            screen += chunk
    except OSError:  # the other end is closed
        pass
    os.close(main)

    lines = screen.decode().replace("\r\n", "\n").split("\n")
    assert process.wait(timeout=30) == 0
    first = next(index for index, line in enumerate(lines) if "spec.url" in line)
    assert lines[first].endswith('/old"')
    assert lines[first + 1].strip() == "^^^"
    assert lines[first + 2].strip().startswith('-> "https://')
    assert lines[first + 1].index("^") == lines[first].index("old")


def test_show_webhook_tells_where_each_value_comes_from(folder: Folder, call: Call) -> None:
    """The manifest, the project's defaults, the host's and the program's; a `null` lifts what the project says."""
    (folder.path / "manifests" / "project.yaml").write_text(
        "apiVersion: reconciler/v1\n"
        "kind: Project\n"
        "spec:\n"
        "  defaults:\n"
        "    query: {source: '${var:source}'}\n"
        "    timeout_in_sec: 20\n"
        "    retry:\n"
        "      max_attempts: 3\n"
        "      jitter: 0.5\n"
    )
    (folder.path / "manifests" / "a.yaml").write_text(
        "apiVersion: reconciler/v1\n"
        "kind: Webhook\n"
        "metadata: {name: a}\n"
        "spec:\n"
        "  url: https://acme.workflows.okta.com/api/flo/0123456789abcdef0123456789abcdef/invoke\n"
        "  headers:\n"
        "    x-api-client-token: ${secret:okta}\n"
        "  triggers: [RequestCreated]\n"
        "  timeout_in_sec: null\n"
        "  retry: {max_attempts: 4}\n"
    )

    args = ("show", "--effective", "--var", "source=test")
    every = {item["path"]: item for item in call(*args, "--webhook", "a", "--format", "json").json["values"]}
    text = call(*args, "--webhook", "a").out

    def origin(path: str) -> tuple[Any, str, str | None, int | None]:
        item = every[path]
        file = Path(item["file"]).name if item["file"] else None
        return item["value"], item["origin"], file, item["line"]

    assert origin("spec.headers.x-api-client-token") == ("${secret:okta}", "manifest", "a.yaml", 7)
    assert origin("spec.query.source") == ("test", "project", "project.yaml", 5)
    assert origin("spec.retry.max_attempts") == (4, "manifest", "a.yaml", 10)
    assert origin("spec.retry.jitter") == (0.5, "project", "project.yaml", 9)
    assert origin("spec.timeout_in_sec") == (65, "host", None, None)
    assert origin("spec.rate_limit.per_second") == (9.0, "host", None, None)
    assert origin("spec.method") == ("POST", "built-in", None, None)
    assert "spec.retry.jitter               = 0.5  # defaults in manifests/project.yaml:9\n" in text
    assert "spec.timeout_in_sec             = 65  # default on Okta hosts\n" in text
    assert "did you mean `a`" in call(*args, "--webhook", "A").err


def test_a_partial_comes_from_its_file(folder: Folder, call: Call) -> None:
    """It is nobody's default; one that the manifest itself brings is the manifest's."""
    (folder.path / "manifests" / "shared" / "mail").mkdir(parents=True)
    (folder.path / "manifests" / "shared" / "mail" / "who.hbs").write_text('"{{data.requester.email}}"')
    own = manifest("own", body_template="[{{> mail/who}}]", partials={"mail/who": "1"})
    folder.write(manifest("a", body_template="[{{> mail/who}}]"), own, project={"partials": "shared"})

    text = call("show", "--webhook", "a", "--effective").out
    values = call("show", "--webhook", "a", "--effective", "--format", "json").json["values"]
    partial = next(item for item in values if "partials" in item["path"])

    assert 'spec.partials."mail/who" = <<-EOT  # partial in manifests/shared/mail/who.hbs\n' in text
    assert (partial["origin"], partial["file"]) == ("partial", "manifests/shared/mail/who.hbs")
    assert "# manifests/all.yaml:" in call("show", "--webhook", "own", "--effective").out.split("partials", 1)[1]


def test_the_environments_of_the_docs_plan_from_one_folder(folder: Folder, call: Call) -> None:
    """Each variable file gives another host, owner and limit; without one nothing is planned."""
    docs = Path(__file__).parents[2] / "docs" / "environments"

    plans = {
        name: call("plan", str(docs / "manifests"), "--var-file", str(docs / f"{name}.yaml"), "--format", "json").json
        for name in ("staging", "production")
    }

    assert call("plan", str(docs / "manifests")).code == 1
    assert {name: plan["owner"] for name, plan in plans.items()} == {
        "staging": "iam-staging",
        "production": "iam-production",
    }
    hosts = {name: {item["host"] for item in plan["secret_bindings"]} for name, plan in plans.items()}
    assert hosts["staging"].isdisjoint(hosts["production"])
    assert all(plan["applyable"] for plan in plans.values())
