"""`doctor`: what is wrong with a store, its daemon, its secrets and its receivers, and how to mend it."""

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import click

from reconciler.cli import view
from reconciler.cli.option import egress_options, egress_settings, format_option, store_option, store_url
from reconciler.cli.state import is_daemon, reading
from reconciler.errors import EXIT_FAILED, EXIT_OK, NotInStoreError, StoreError
from reconciler.models.diagnosis import Diagnosis

if TYPE_CHECKING:
    from reconciler.client.store import RemoteStore
    from reconciler.store.base import Store


@click.command()
@store_option
@egress_options
@click.option("--offline", is_flag=True, help="Dial no receiver.")
@click.option("--full", is_flag=True, help="Read every page of the store and every index, however long it takes.")
@format_option()
@click.pass_context
def doctor(ctx: click.Context, /, output_format: str, **options: Any) -> int:
    """Tell what is wrong, and how to mend it; exits 1 for errors, 0 for warnings alone.

    Looks at the store (integrity, the rules of its rows, room on the disk, who may read its files), the daemon that
    serves it, what is late, paused, held back, quarantined or unbound, webhooks that cannot deliver, the audit log, the
    clock by the receivers' answers, and the receivers: each host is resolved, judged and greeted once by TLS, without a
    request. A serving daemon is not held up.

    Without --secrets the word of the daemon that serves the store counts. With an https:// store the daemon looks, by
    its own secrets and options.
    """
    url = store_url(ctx)
    if is_daemon(url) and options["full"]:
        raise click.UsageError("--full goes with a store file: run it where the store is.", ctx)
    diagnosis = asyncio.run(_diagnosis(url, options))
    if output_format == "json":
        view.out_json(diagnosis.to_json())
    else:
        from reconciler.cli.view_doctor import out_diagnosis

        out_diagnosis(diagnosis)
    return EXIT_OK if diagnosis.is_well else EXIT_FAILED


async def _diagnosis(url: str, options: Mapping[str, Any]) -> Diagnosis:
    from reconciler.dispatch.doctor import unreadable

    try:
        async with reading(url) as store:
            if is_daemon(url):
                return await cast("RemoteStore", store).doctor(dials=not options["offline"])
            return await _look(cast("Store", store), options)
    except NotInStoreError:
        raise
    except StoreError as exc:
        return unreadable(exc)


async def _look(store: "Store", options: Mapping[str, Any]) -> Diagnosis:
    from reconciler.dispatch.doctor import Doctor, How
    from reconciler.egress.secrets import SecretResolver

    settings = egress_settings(options)
    resolver = None if settings.secrets_file is None else SecretResolver.load(settings.secrets_file)
    looking = Doctor(store, settings=settings, resolver=resolver, now=lambda: time.time_ns() // 1_000_000)
    return await looking.diagnose(How(dials=not options["offline"], is_full=options["full"]))
