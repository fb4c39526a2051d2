"""Which files are read, how documents of a set act on each other, and what the set is then."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from manifest_text import manifest

from reconciler.errors import ManifestError, Problem
from reconciler.manifest.load import Manifests, load_manifests
from reconciler.models.binding import Binding, SecretSource

Load = Callable[..., Manifests]
Problems = Callable[..., tuple[Problem, ...]]

PROJECT = "apiVersion: reconciler/v1\nkind: Project\nspec:\n"


def test_folders_are_searched_in_depth_for_yaml_and_hidden_names_passed_over(tmp_path: Path) -> None:
    """`*.yaml` and `*.yml`, at any depth; neither hidden files nor hidden folders nor other names."""
    for name in ("a.yaml", "deep/er/b.yml", ".hidden.yaml", ".git/c.yaml", "notes.txt", "d.yaml~"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(manifest(name=f"hook-{path.stem.strip('.')}"))

    manifests = load_manifests([tmp_path])

    assert [webhook.name for webhook in manifests.webhooks] == ["hook-a", "hook-b"]
    assert manifests.files == 2


def test_a_loop_of_links_ends_and_linked_folders_are_read(tmp_path: Path) -> None:
    """A link that leads back up is not followed again; one that leads elsewhere is."""
    inside, outside = tmp_path / "manifests", tmp_path / "shared"
    (inside / "deep").mkdir(parents=True)
    outside.mkdir()
    (inside / "a.yaml").write_text(manifest(name="a"))
    (outside / "b.yaml").write_text(manifest(name="b"))
    (inside / "deep" / "up").symlink_to(inside)
    (inside / "shared").symlink_to(outside)

    manifests = load_manifests([inside])

    assert [webhook.name for webhook in manifests.webhooks] == ["a", "b"]
    assert manifests.is_valid


def test_links_that_multiply_paths_are_followed_once(tmp_path: Path) -> None:
    """Thirty folders with two links each to the next would be a thousand million paths."""
    for number in range(30):
        (tmp_path / f"f{number:02}").mkdir()
    for number in range(29):
        for name in ("a", "b"):
            (tmp_path / f"f{number:02}" / name).symlink_to(tmp_path / f"f{number + 1:02}")
    (tmp_path / "f29" / "hook.yaml").write_text(manifest())

    assert len(load_manifests([tmp_path]).webhooks) == 1


def test_a_file_that_several_paths_lead_to_is_read_once(tmp_path: Path) -> None:
    """Overlapping PATHs and links to files are no duplicate names."""
    (tmp_path / "a.yaml").write_text(manifest())
    (tmp_path / "link.yaml").symlink_to(tmp_path / "a.yaml")

    manifests = load_manifests([tmp_path, tmp_path / "a.yaml"])

    assert manifests.is_valid
    assert len(manifests.webhooks) == 1


def test_a_named_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    """Only folders are searched by suffix."""
    (tmp_path / "hooks.manifest").write_text(manifest())

    assert len(load_manifests([tmp_path / "hooks.manifest"]).webhooks) == 1


def test_a_missing_path_is_an_error_and_the_rest_is_read(tmp_path: Path) -> None:
    """A typing error in a pipeline must not look like an empty set."""
    (tmp_path / "a.yaml").write_text(manifest())

    manifests = load_manifests([tmp_path, tmp_path / "absent"])

    assert [problem.code for problem in manifests.problems] == ["file.missing"]
    assert len(manifests.webhooks) == 1


def test_an_empty_folder_is_a_valid_empty_set(tmp_path: Path) -> None:
    """Whether nothing may be desired is for plan and apply to judge."""
    manifests = load_manifests([tmp_path])

    assert manifests.is_valid
    assert manifests.webhooks == ()


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n---\n", "---\n# a\n---\n"])
def test_empty_documents_are_passed_over(load: Load, text: str) -> None:
    """Templating tools leave such."""
    assert load(text).problems == ()


def test_what_is_not_utf8_is_a_problem_with_its_place(tmp_path: Path) -> None:
    """The byte that cannot be read, by line and column."""
    (tmp_path / "a.yaml").write_bytes(manifest().encode() + b"# caf\xe9\n")

    (problem,) = load_manifests([tmp_path]).problems

    assert (problem.code, problem.line, problem.column) == ("file.encoding", 8, 6)


def test_what_is_no_regular_file_is_a_problem(tmp_path: Path) -> None:
    """A pipe would block for ever."""
    os.mkfifo(tmp_path / "a.yaml")

    (problem,) = load_manifests([tmp_path]).problems

    assert problem.code == "file.unreadable"


def test_a_dangling_link_is_a_problem(tmp_path: Path) -> None:
    """What the author meant to be read must not be missed in silence."""
    (tmp_path / "a.yaml").symlink_to(tmp_path / "gone.yaml")

    (problem,) = load_manifests([tmp_path]).problems

    assert problem.code == "file.unreadable"


@pytest.mark.parametrize("kind", ["file", "folder", "link to a link", "PATH"])
@pytest.mark.parametrize("text", ["top-secret-value", "secret_name: {token: top-secret-value}", "a: [top-secret"])
def test_a_link_out_of_the_paths_shows_no_strangers_file(tmp_path: Path, kind: str, text: str) -> None:
    """A pull request may hold links; whoever checks it must not quote the machine's secrets in what he answers."""
    inside, outside = tmp_path / "manifests", tmp_path / "vault"
    outside.mkdir()
    (outside / "key.yaml").write_text(text)
    links = {
        "file": {"manifests/key.yaml": outside / "key.yaml"},
        "folder": {"manifests/more": outside},
        "link to a link": {"manifests/.hidden": outside, "manifests/more": inside / ".hidden"},
        "PATH": {"manifests": outside},
    }
    for name, target in links[kind].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(target)

    manifests = load_manifests([inside])

    (problem,) = manifests.problems
    assert problem.code == "file.outside"
    assert "secret" not in f"{problem}"


def test_who_names_a_path_is_told_what_is_wrong_there(tmp_path: Path) -> None:
    """A link into another PATH leads nowhere that the caller did not name."""
    inside, shared = tmp_path / "manifests", tmp_path / "shared"
    inside.mkdir()
    shared.mkdir()
    (shared / "b.yaml").write_text("just text")
    (inside / "more").symlink_to(shared)

    (problem,) = load_manifests([inside, shared]).problems

    assert problem.code == "document.shape"


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    """Bodies have line feeds whatever the editor wrote, and positions do not shift."""
    text = manifest('body_template: |\n  {\n    "who": "{{data.requester.emial}}"\n  }')
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())

    (problem,) = load_manifests([tmp_path]).problems

    assert (problem.line, problem.column) == (10, 32)


def test_a_syntax_error_hides_no_document_before_it(problems: Problems) -> None:
    """What stands before is judged, in this file and in others."""
    text = manifest("timeout_in_sec: 90") + "---\nmetadata: {\n"

    assert [problem.code for problem in problems(text, manifest("max_hold: 5", name="b"))] == [
        "field.range",
        "yaml.syntax",
        "field.duration",
    ]


def test_a_faulty_document_hides_no_other_problem_of_its_own(problems: Problems) -> None:
    """Ill-typed fields, rules on texts and templates are judged in one run."""
    text = manifest(
        'triggers: [Made]\nheaders: {x-a: 1, authorization: abc}\nbody_template: \'{"a": "{{data.idd}}"}\'',
        url="https://hooks.example.com:80/",
    ).replace("  triggers: [RequestCreated]\n", "")

    assert sorted(problem.code for problem in problems(text)) == [
        "field.choice",
        "field.type",
        "secret.literal",
        "template.unknown_field",
        "url.port",
    ]


def test_the_order_of_files_and_documents_is_irrelevant(tmp_path: Path) -> None:
    """Same webhooks, same digest, whatever the file names."""
    texts = [manifest(name=f"hook-{number}") for number in range(5)] + [f"{PROJECT}  owner: iam\n"]
    for folder, order in (("one", texts), ("two", texts[::-1])):
        (tmp_path / folder).mkdir()
        for number, text in enumerate(order):
            (tmp_path / folder / f"{number}.yaml").write_text(text)
    (tmp_path / "three.yaml").write_text("---\n".join(texts[2:] + texts[:2]))

    sets = [load_manifests([tmp_path / name]) for name in ("one", "two", "three.yaml")]

    assert sets[0].webhooks == sets[1].webhooks == sets[2].webhooks
    assert sets[0].digest == sets[1].digest == sets[2].digest


@pytest.mark.parametrize("other", [manifest("max_concurrency: 3"), manifest(metadata="renamed_from: old")])
def test_the_digest_follows_every_difference(load: Load, other: str) -> None:
    """A saved plan is bound to what was desired, a rename included."""
    assert load(manifest()).digest != load(other).digest


def test_the_digest_follows_the_project(load: Load) -> None:
    """Another policy is another plan."""
    owned = load(manifest(), f"{PROJECT}  owner: iam\n").digest
    limited = load(manifest(), f"{PROJECT}  owner: iam\n  policy: {{max_delete_percent: 5}}\n").digest

    assert owned != limited


def test_sources_tell_where_each_webhook_is_declared(load: Load, tmp_path: Path) -> None:
    """The line of its name, so that a refused plan can point there."""
    manifests = load(manifest(name="a") + "---\n" + manifest(name="b"))

    assert (manifests.sources["b"].file, manifests.sources["b"].line) == (str(tmp_path / "000.yaml"), 12)


def test_require_valid_raises_with_every_problem_and_passes_warnings(load: Load) -> None:
    """A command that goes on has no error behind it."""
    load(manifest("when: data.grantee.id == 'a'")).require_valid()

    with pytest.raises(ManifestError) as caught:
        load(manifest("when: data.grantee.id == 'a'\ntimeout_in_sec: 0")).require_valid()

    assert [problem.code for problem in caught.value.problems] == ["when.newer_field", "field.range"]


def test_names_are_unique_over_all_files_and_both_places_are_said(problems: Problems, tmp_path: Path) -> None:
    """Of two, the later one is at fault, and the message leads to the earlier."""
    (problem,) = problems(manifest(), manifest())

    assert problem.file == str(tmp_path / "001.yaml")
    assert f"{tmp_path / '000.yaml'}:4:9" in problem.message


def test_a_webhook_test_is_passed_over(load: Load) -> None:
    """`kind: WebhookTest` is for `check`."""
    manifests = load(
        manifest(), "apiVersion: reconciler/v1\nkind: WebhookTest\nmetadata: {name: t}\nspec: {any: [1]}\n"
    )

    assert manifests.is_valid
    assert [test.document["spec"] for test in manifests.tests] == [{"any": [1]}]


def test_defaults_lie_under_every_spec_mappings_merged_lists_replaced(load: Load) -> None:
    """A webhook's own word counts; null lifts a default."""
    project = f"""{PROJECT}  defaults:
    headers: {{x-team: iam, x-env: prod}}
    retry: {{schedule: [1m, 2m], jitter: 0.5}}
    filters: {{resource: ["a*"]}}
    query: {{source: reconciler}}
"""
    text = manifest("headers: {x-env: dev}\nretry: {schedule: [5s]}\nfilters: {resource: ['b*']}\nquery: null")

    manifests = load(project, text)

    spec = manifests.webhooks[0].spec
    assert manifests.problems == ()
    assert spec.headers == {"x-team": "iam", "x-env": "dev"}
    assert (spec.retry.schedule, spec.retry.jitter) == ((timedelta(seconds=5),), 0.5)
    assert spec.filters.resource == ("b*",)
    assert spec.query == {}


def test_a_default_wins_over_what_a_host_would_bring(load: Load) -> None:
    """Okta's timeout and rate fill in only what nobody said."""
    okta = manifest(url="https://acme.workflows.okta.com/api/flo/0123456789abcdef0123456789abcdef/invoke")

    with_default = load(f"{PROJECT}  defaults: {{timeout_in_sec: 20}}\n", okta).webhooks[0].spec
    assert with_default.timeout_in_sec == 20
    assert with_default.rate_limit.per_second == 9  # type: ignore[union-attr]


def test_a_problem_that_a_default_causes_points_to_the_project_once(problems: Problems, tmp_path: Path) -> None:
    """Ten webhooks under a bad default are one problem, where it can be mended."""
    project = f"{PROJECT}  defaults:\n    headers:\n      authorization: Bearer abc\n"

    (problem,) = problems(project, *(manifest(name=f"hook-{number}") for number in range(10)))

    assert (problem.code, problem.file) == ("secret.literal", str(tmp_path / "000.yaml"))
    assert (problem.path, problem.line, problem.column) == ("spec.defaults.headers.authorization", 6, 22)


def test_a_default_that_is_wrong_for_some_names_a_file_that_takes_it(problems: Problems, tmp_path: Path) -> None:
    """The problem stands once, in the project; among a hundred webhooks nobody would find those it is wrong for."""
    project = f"{PROJECT}  defaults: {{method: PUT}}\n"
    okta = "https://acme.workflows.okta.com/api/flo/0123456789abcdef0123456789abcdef/invoke"
    others = (manifest(name="b", url=okta), manifest(name="c"), manifest(name="d", url=okta))

    (one,) = problems(project, manifest(name="a"), manifest(name="b", url=okta))
    (two,) = problems(project, manifest(name="a"), *others)

    assert (one.code, one.file) == (two.code, two.file) == ("okta.method", str(tmp_path / "000.yaml"))
    assert one.hint.endswith(f"; {tmp_path / '002.yaml'} takes this default")
    assert two.hint.endswith(f"; {tmp_path / '002.yaml'} and 1 more file take this default")


def test_a_default_that_is_at_fault_as_yaml_is_complained_of_once(problems: Problems) -> None:
    """Nobody adds that 015 is no whole number either."""
    found = problems(f"{PROJECT}  defaults: {{timeout_in_sec: 015}}\n", manifest())

    assert [problem.code for problem in found] == ["yaml.ambiguous"]


def test_a_key_missing_inside_a_default_points_into_the_default(problems: Problems, tmp_path: Path) -> None:
    """The nearest place that is written, not the webhook that inherits it."""
    (problem,) = problems(f"{PROJECT}  defaults:\n    rate_limit: {{burst: 2}}\n", manifest())

    assert (problem.code, problem.file, problem.line) == ("field.missing", str(tmp_path / "000.yaml"), 5)


def test_a_conflict_of_default_and_webhook_points_to_the_webhook(problems: Problems, tmp_path: Path) -> None:
    """What the author of the webhook wrote last."""
    project = f"{PROJECT}  defaults: {{method: GET}}\n"

    (problem,) = problems(project, manifest('body_template: "{}"'))

    assert (problem.code, problem.file) == ("body.not_allowed", str(tmp_path / "001.yaml"))


def test_secrets_that_the_daemon_would_not_resolve_are_warned_of(tmp_path: Path) -> None:
    """Unbound, and bound to other hosts: with the place of the reference."""
    spec = "headers:\n  x-a: ${secret:bound}\n  x-b: ${secret:unbound}\n  x-c: ${secret:elsewhere}"
    (tmp_path / "a.yaml").write_text(manifest(spec))
    hosts = {"bound": "hooks.example.com", "elsewhere": "other.example.com"}
    bindings = {name: Binding(name, SecretSource.ENV, "TOKEN", (host,)) for name, host in hosts.items()}

    manifests = load_manifests([tmp_path], bindings=bindings)

    assert manifests.is_valid
    assert [(problem.code, problem.line) for problem in manifests.problems] == [
        ("secret.unbound", 10),
        ("secret.bound_elsewhere", 11),
    ]


def test_access_tokens_that_the_daemon_would_not_send_are_warned_of(tmp_path: Path) -> None:
    """The token of an Okta org is for that org, whatever a manifest says."""
    oauth = "token_url: https://acme.okta.com/oauth2/v1/token, client_id: x, client_secret: '${secret:cs}'"
    text = manifest(f"auth: {{oauth2: {{{oauth}}}}}", url="https://evil.example.com/x")
    (tmp_path / "a.yaml").write_text(text)
    bindings = {"cs": Binding("cs", SecretSource.ENV, "CS", ("acme.okta.com",))}

    problems = load_manifests([tmp_path], bindings=bindings).problems

    (told,) = [problem for problem in problems if problem.code == "secret.bound_elsewhere"]
    assert told.message == "access tokens of the secret cs may not be sent to this host: evil.example.com"
    assert not told.is_error


def test_without_a_binding_file_no_secret_is_warned_of(load: Load) -> None:
    """Pipelines run where the binding file is not."""
    assert load(manifest("headers: {x-a: '${secret:any}'}")).problems == ()


def test_partials_are_a_folder_that_is_there(load: Load, tmp_path: Path) -> None:
    """Relative to the project's file."""
    project = f"{PROJECT}  partials: partials\n"

    assert [problem.code for problem in load(project).problems] == ["project.partials"]
    (tmp_path / "partials").mkdir()
    assert load(project).problems == ()


def test_alias_bombs_and_deep_nests_are_refused_at_once(problems: Problems) -> None:
    """Neither time nor memory nor the C stack is spent on them."""
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    deep = "[" * 200_000
    wide = "{" * 200_000

    assert [problem.code for problem in problems(bomb, deep, wide)] == ["yaml.alias", "yaml.depth", "yaml.depth"]


def test_a_few_aliases_are_taken(load: Load) -> None:
    """An anchor saves typing, and means the same to every parser."""
    manifests = load(manifest("headers: &h {x-a: b}\nquery: *h"))

    assert manifests.webhooks[0].spec.query == {"x-a": "b"}


def test_many_faults_in_one_file_cost_what_one_does(problems: Problems) -> None:
    """Places are looked up, not searched for: ten thousand of each kind within seconds."""
    keys = "".join(f"  k{number}: &a{number} no\n" for number in range(10_000))
    body = "body_template: |\n" + '  "${x}"\n' * 3_000
    documents = "---\n".join(manifest("when: data.grantee.id == 'a'", name=f"hook-{number}") for number in range(2_000))

    begin = time.process_time()
    found = problems(manifest(name="a") + keys, manifest(body, name="b"), documents)

    assert len(found) == 20_000 + 3_000 + 2_000
    assert time.process_time() - begin < 20


def test_several_keys_that_are_no_text_are_each_a_problem(problems: Problems) -> None:
    """Unquoted templates as keys: they have no names that could be compared."""
    found = problems(manifest("query:\n  {{a}}: x\n  {{b}}: z"))

    assert [problem.code for problem in found] == ["yaml.key", "yaml.key"]


@pytest.mark.parametrize("text", ["when: !", "when: [!, a]", "when: !\t# c\n"])
def test_a_tag_without_a_name_is_told_wherever_it_ends(problems: Problems, text: str) -> None:
    """At the end of the file, before a comma, before a tab."""
    assert "yaml.tag" in [problem.code for problem in problems(manifest(text).rstrip("\n"))]
