"""`health`: whether the daemon on this machine lives, or is ready; for what watches over a container."""

from pathlib import Path
from typing import Any

import click

from reconciler.cli import view
from reconciler.cli.option import format_option, listen_option, tls_cert_option
from reconciler.errors import EXIT_FAILED, EXIT_OK, OptionError
from reconciler.settings import parse_listen


@click.command()
@listen_option("Where the daemon listens, as `run` was told.")
@tls_cert_option("The certificate that the daemon serves https:// with, as `run` was told.")
@click.option("--ready", is_flag=True, help="Ask whether it is ready too: the store answers, and it does not drain.")
@format_option()
def health(listen: str, tls_cert: str | None, ready: bool, output_format: str) -> int:
    """Tell whether the daemon on this machine lives; exits 1 where it does not.

    With the variables of `run` it needs no option, and never a token. It takes five seconds at most, and believes
    nobody but the holder of the daemon's own certificate.
    """
    from reconciler.client.health import Served, ask

    host, port = parse_listen(listen)
    if port == 0:
        raise OptionError("`--listen` with port 0 names no daemon", hint="give the port of its ready line")
    served = Served(host, port, *_certificate(tls_cert))
    found = ask(served, "/readyz" if ready else "/healthz")
    word = "ready" if ready else "alive"
    if output_format == "json":
        view.out_json({word: found.is_well, "url": served.url, "status": found.status, "answer": found.facts})
    else:
        view.out(f"{word if found.is_well else f'not {word}'}: {served.url}{_why(found.facts)}")
    return EXIT_OK if found.is_well else EXIT_FAILED


def _certificate(file: str | None) -> tuple[Path | None, str]:
    """The certificate, and a name that it holds."""
    if file is None:
        return None, ""
    from reconciler.web.certificate import certificate_names

    path = Path(file)
    try:
        names = certificate_names(path)
    except OSError as exc:
        raise OptionError(f"`--tls-cert` cannot be read: {path}: {(exc.strerror or str(exc)).lower()}") from exc
    if not names:
        raise OptionError(f"the certificate names no host: {path}", hint="clients would refuse it: give it a name")
    return path, names[0].replace("*", "health", 1)


def _why(facts: dict[str, Any]) -> str:
    """What a refusal says, or which revision is live."""
    if "detail" in facts:
        return f" ({view.visible(str(facts['detail']))})"
    return f" (revision {facts['revision']})" if isinstance(facts.get("revision"), int) else ""
