"""The project's folder of partials, and what of it becomes part of a webhook."""

from collections.abc import Callable
from pathlib import Path

import pytest
from manifest_text import manifest

from reconciler.errors import Problem
from reconciler.manifest.export import webhook_manifest
from reconciler.manifest.format import dump_manifests
from reconciler.manifest.load import Manifests, load_manifests

Load = Callable[..., Manifests]

PROJECT = "apiVersion: reconciler/v1\nkind: Project\nspec:\n  partials: partials\n"
WHO = '{"name": "{{name}}", "mail": "{{email}}"}\n'


def body(text: str) -> str:
    return manifest(f"body_template: |\n  {text}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of partials beside the manifests."""
    folder = tmp_path / "partials"
    folder.mkdir()
    return folder


def codes(problems: tuple[Problem, ...]) -> list[str]:
    return [problem.code for problem in problems]


def test_a_body_includes_a_file_by_its_name(load: Load, folder: Path) -> None:
    """What it includes becomes part of the webhook, so that the store needs no folder; what it does not, does not."""
    (folder / "who.hbs").write_text(WHO)
    (folder / "other.hbs").write_text("unused")

    (webhook,) = load(PROJECT, body('{"by": {{> who data.requester}}, "for": {{> who data.requester}} }')).webhooks

    assert webhook.spec.partials == {"who": WHO}
    assert webhook.document()["spec"]["partials"] == {"who": WHO}


def test_a_partial_includes_others_and_subfolders_are_part_of_the_name(load: Load, folder: Path) -> None:
    """All that is reached is taken, whatever the suffix of its file."""
    (folder / "deep").mkdir()
    (folder / "deep" / "who.handlebars").write_text("{{> end}}")
    (folder / "end.txt").write_text("{{id}}")

    (webhook,) = load(PROJECT, body('"{{> deep/who data}}"')).webhooks

    assert webhook.spec.partials == {"deep/who": "{{> end}}", "end": "{{id}}"}


def test_a_partial_whose_name_is_a_value_may_be_any(load: Load, folder: Path) -> None:
    """So all of them are taken."""
    (folder / "a.hbs").write_text("1")
    (folder / "b.hbs").write_text("2")

    (webhook,) = load(PROJECT, body("[{{> (lookup this 'event_type')}}]")).webhooks

    assert set(webhook.spec.partials) == {"a", "b"}


def test_a_leaf_of_a_mapping_includes_too(load: Load, folder: Path) -> None:
    """Each text of a body is a template."""
    (folder / "who.hbs").write_text(WHO)

    (webhook,) = load(PROJECT, manifest("body_template: {a: [{b: '{{> who data.requester}}'}]}")).webhooks

    assert webhook.spec.partials == {"who": WHO}


def test_a_changed_partial_changes_the_webhook(load: Load, folder: Path) -> None:
    """A plan shows it, and the reviewer sees what will be sent."""
    before = load(PROJECT, body("[{{> n}}]"))
    (folder / "n.hbs").write_text("1")
    one = load(PROJECT, body("[{{> n}}]"))
    (folder / "n.hbs").write_text("2")
    other = load(PROJECT, body("[{{> n}}]"))

    assert codes(before.problems) == ["template.unknown_partial"]
    assert one.webhooks[0].digest() != other.webhooks[0].digest()
    assert one.digest != other.digest


def test_a_webhooks_own_partials_win_and_an_exported_one_loads_as_the_same(load: Load, folder: Path) -> None:
    """What `export` writes names no folder."""
    (folder / "n.hbs").write_text("from the folder")
    (folder / "m.hbs").write_text("m")
    own = manifest("partials: {n: own}\nbody_template: '\"{{> n}}{{> m}}\"'")

    (webhook,) = load(PROJECT, own).webhooks
    (again,) = load("", dump_manifests([webhook_manifest(webhook)])).webhooks

    assert webhook.spec.partials == {"n": "own", "m": "m"}
    assert again.canonical() == webhook.canonical()


def test_a_fault_in_a_partial_is_shown_at_the_tag_that_includes_it(load: Load, folder: Path) -> None:
    """With the partial's name and the place inside it."""
    (folder / "who.hbs").write_text('{\n  "name": "{{nam}}"\n}')

    (problem,) = load(PROJECT, body('{"by": {{> who data.requester}} }')).problems

    assert (problem.code, problem.line, problem.column) == ("template.unknown_field", 9, 12)
    assert problem.message == "in the partial `who` at 2:14: `data.requester` has no field `nam`"
    assert problem.hint == "did you mean `name`?"


def test_syntax_faults_of_a_partial_are_reported_where_it_is_used(load: Load, folder: Path) -> None:
    """One that nobody includes harms nobody."""
    (folder / "bad.hbs").write_text("{{#if this}}")

    used = load(PROJECT, body("[{{> bad}}]"))

    assert codes(used.problems) == ["template.syntax"]
    assert "in the partial `bad` at 1:1" in used.problems[0].message
    assert load(PROJECT, body("[1]")).problems == ()


def test_no_link_leads_a_partial_out_of_its_folder(load: Load, folder: Path, tmp_path: Path) -> None:
    """A pull request cannot read the files of whoever runs it."""
    (tmp_path / "secret").write_text("hunter2")
    (folder / "x.hbs").symlink_to(tmp_path / "secret")
    (folder / "y").symlink_to(tmp_path)

    manifests = load(PROJECT, body("[{{> x}}]"))

    assert codes(manifests.problems) == ["template.unknown_partial", "project.partials"]
    assert not any("hunter2" in f"{problem}" for problem in manifests.problems)


def test_the_folder_itself_is_no_link_to_elsewhere(
    load: Load, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nor can it be one that leads out of the manifests."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "x.hbs").write_text("1")
    (tmp_path / "partials").symlink_to(outside)

    manifests = load(PROJECT, body("[{{> x}}]"))

    assert "project.partials" in codes(manifests.problems)
    assert manifests.webhooks == ()


def test_two_files_of_one_name_are_an_error(load: Load, folder: Path) -> None:
    """Which one is meant would depend on the alphabet."""
    (folder / "n.hbs").write_text("1")
    (folder / "n.json").write_text("2")
    (folder / ".n.swp").write_text("hidden names are passed over")

    (problem,) = load(PROJECT, body("[{{> n}}]")).problems

    assert (problem.code, Path(problem.file or "").name) == ("project.partials", "n.json")


def test_a_partial_that_is_no_text_is_an_error(load: Load, folder: Path) -> None:
    """In the file that is at fault."""
    (folder / "n.hbs").write_bytes(b"\xff")

    problems = load(PROJECT, body("[1]")).problems

    assert codes(problems) == ["file.encoding"]


def test_a_folder_that_is_too_large_is_refused(load: Load, folder: Path) -> None:
    """A slip of the path does not read a disk."""
    for number in range(1_002):
        (folder / f"{number}.hbs").touch()

    assert codes(load(PROJECT, body("[1]")).problems) == ["project.partials"]


def test_the_line_feed_that_ends_a_file_stays_out_of_strings(load: Load, folder: Path) -> None:
    """Editors write one; in a JSON string it would be an error."""
    (folder / "who.hbs").write_text("{{name}}\r\n")

    manifests = load(PROJECT, body('{"by": "{{> who data.requester}}!"}'))

    assert manifests.problems == ()


def test_webhooks_of_a_set_without_a_project_have_no_partials(tmp_path: Path) -> None:
    """The folder is the project's."""
    (tmp_path / "a.yaml").write_text(body("[{{> who}}]"))

    (problem,) = load_manifests([tmp_path]).problems

    assert (problem.code, problem.hint) == ("template.unknown_partial", "there are no partials")


def test_another_fault_of_the_project_takes_no_partial_away(load: Load, folder: Path) -> None:
    """Who mends the one fault is not sent to look at every body that includes something."""
    (folder / "who.hbs").write_text(WHO)

    project = f"{PROJECT}  defaults: {{headers: {{authorization: x}}}}\n"

    assert codes(load(project, body('{"by": {{> who data.requester}} }')).problems) == ["secret.literal"]
