"""`export` and `import`: manifests from what is live here, or from a Terraform state.

Manifests are the data and go to stdout, or into a folder, one file a webhook; what the reader must know beside them
goes to stderr. Nothing is applied.
"""

import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from reconciler.cli import view
from reconciler.cli.option import format_option, store_option, store_url
from reconciler.cli.owner import owner_option, the_owner
from reconciler.cli.state import reading
from reconciler.errors import Problem, ReconcilerError, Severity
from reconciler.models.revision import NOBODY, LiveState, LiveWebhook
from reconciler.models.webhook import Policy

if TYPE_CHECKING:
    from reconciler.manifest.importing import SecretToBind

PROJECT_FILE: Final = "_project.yaml"  # no webhook can have this name

Documents = Mapping[str, Mapping[str, Any]]  # by the name of their file


@click.command()
@store_option
@owner_option
@format_option("yaml", "json")
@click.option(
    "--out", "folder", metavar="DIR", type=click.Path(file_okay=False), help="Write one file a webhook there."
)
@click.option("--force", is_flag=True, help="With --out: replace files that say something else.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_context
def export(
    ctx: click.Context,
    /,
    owner: str | None,
    output_format: str,
    folder: str | None,
    force: bool,
    names: tuple[str, ...],
    **_: Any,
) -> None:
    """Print the live webhooks as manifests, without what the defaults say.

    Planning them changes nothing. Where the owner has a name or a policy, a Project comes first, so that they are
    applied as his; not with NAMEs (globs), which pick single webhooks of any owner.
    """
    live = asyncio.run(_live(store_url(ctx)))
    documents = _exported(live, owner, names)
    _put(documents, output_format=output_format, folder=folder, force=force)


@click.command("import")
@format_option("yaml", "json")
@click.option(
    "--out", "folder", metavar="DIR", type=click.Path(file_okay=False), help="Write one file a webhook there."
)
@click.option("--force", is_flag=True, help="With --out: replace files that say something else.")
@click.argument("file", type=click.Path(allow_dash=True))
def import_(file: str, output_format: str, folder: str | None, force: bool) -> None:
    """Turn the apono_manual_webhook resources of a Terraform state into manifests.

    FILE (- for stdin) is what `terraform show -json` prints, or a terraform.tfstate. Header values and credentials
    become ${secret:NAME}; stderr lists the names to bind, never the values, and what has no counterpart here.
    """
    from reconciler.manifest.format import as_written
    from reconciler.manifest.importing import TYPE, import_webhooks
    from reconciler.manifest.terraform import read_resources

    resources = read_resources(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
    if not any(resource.type == TYPE for resource in resources):
        raise ReconcilerError(f"there is no {TYPE} among {len(resources)} resources of the state")
    imported = import_webhooks(resources)
    if output_format == "json" and folder is None:
        view.out_json(
            {
                "manifests": [as_written(document) for document in imported.manifests.values()],
                "secrets": [asdict(secret) for secret in imported.secrets],
                "problems": [asdict(problem) for problem in imported.problems],
            }
        )
        return
    documents = {f"{name}.yaml": document for name, document in imported.manifests.items()}
    _put(documents, output_format=output_format, folder=folder, force=force)
    sys.stdout.flush()
    view.say_problems(imported.problems)
    _say_secrets(imported.secrets)


def _say_secrets(secrets: "Sequence[SecretToBind]") -> None:
    """What the operator must bind, as lines of the binding file."""
    if not secrets:
        return
    view.say("\nTo be bound by the operator, in the file that --secrets names:\n")
    for secret in secrets:
        host = f"[{secret.host}]" if secret.host else "[]"
        binding = f"{secret.name}: {{from: env:{secret.name.upper()}, hosts: {host}}}"
        view.say(f"{view.visible(binding)}  # {view.visible(secret.place)}")


async def _live(url: str) -> LiveState:
    async with reading(url) as store:
        return await store.live_state()


def _exported(live: LiveState, owner: str | None, names: Sequence[str]) -> Documents:
    from reconciler.manifest.export import project_manifest

    documents: dict[str, Mapping[str, Any]] = {}
    if names:
        chosen = _named(live.webhooks, owner, names)
    else:
        whose = the_owner(owner, live)
        chosen = [item for item in live.webhooks if item.owner == whose]
        project = None if whose == NOBODY else project_manifest(whose, live.policies.get(whose, Policy()))
        if project is not None:
            documents[PROJECT_FILE] = project
    return documents | {f"{item.webhook.name}.yaml": exported_document(item) for item in chosen}


def _named(webhooks: Sequence[LiveWebhook], owner: str | None, names: Sequence[str]) -> list[LiveWebhook]:
    mine = [item for item in webhooks if owner in (None, item.owner)]
    missing = [name for name in names if not any(fnmatchcase(item.webhook.name, name) for item in mine)]
    if missing:
        raise ReconcilerError(
            f"no live webhook has such a name: {', '.join(missing)}", hint="see `reconciler webhooks list`"
        )
    return [item for item in mine if any(fnmatchcase(item.webhook.name, name) for name in names)]


def exported_document(item: LiveWebhook) -> Mapping[str, Any]:
    """The webhook as `export` gives it; what is left out of it is said."""
    from reconciler.manifest.export import hide_literals, webhook_manifest

    document, secrets = hide_literals(webhook_manifest(item.webhook))
    hint = "it is not exported; somebody wrote it into the database"
    problems = [
        Problem(Severity.WARNING, "secret.literal", fact, path=item.webhook.address, hint=hint) for fact in secrets
    ]
    if not item.is_intact:
        fact, hint = "the stored document was edited: it fails its digest", "see `reconciler drift`"
        problems.append(Problem(Severity.WARNING, "edited", fact, path=item.webhook.address, hint=hint))
    view.say_problems(problems)
    return document


def _put(documents: Documents, *, output_format: str, folder: str | None, force: bool = False) -> None:
    """Print manifests, or write each into its file; nothing is written where one of them must not be."""
    from reconciler.manifest.format import as_written, dump_manifests

    if folder is not None:
        texts = {Path(folder) / name: dump_manifests([document]) for name, document in documents.items()}
        _write(texts, force=force)
    elif output_format == "json":
        view.out_json([as_written(document) for document in documents.values()])
    else:
        put_manifests(documents.values())


def put_manifests(documents: Iterable[Mapping[str, Any]]) -> None:
    """Print manifests as one file, the same bytes in every locale."""
    from reconciler.manifest.format import dump_manifests

    click.echo(dump_manifests(documents).encode("utf-8"), nl=False)


def _write(texts: Mapping[Path, str], *, force: bool) -> None:
    other = [file for file, text in texts.items() if file.exists() and file.read_bytes() != text.encode("utf-8")]
    if other and not force:
        raise ReconcilerError(
            f"files are there already and say something else: {', '.join(map(str, other))}",
            hint="name another folder, or pass `--force`",
        )
    for file, text in texts.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode("utf-8"))
    view.say(f"Wrote {len(texts)} file{'' if len(texts) == 1 else 's'}.")
