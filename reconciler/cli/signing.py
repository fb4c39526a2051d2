"""`reconciler signing`: keys for signatures, and whether a request is verified by them. Nothing is sent or stored."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from reconciler.cli import view
from reconciler.cli.option import format_option, secrets_option
from reconciler.errors import EXIT_FAILED, EXIT_OK, OptionError, ReconcilerError

if TYPE_CHECKING:
    from reconciler.request.verify import VerifyingKey

KEY_BYTES: Final = 32  # of a new shared secret: as many as HMAC-SHA256 puts out (RFC 2104, section 3)
FILE_MAX_BYTES: Final = 16 * 1024 * 1024
STDIN: Final = "-"


@click.group()
def signing() -> None:
    """Make signing keys, and verify signed requests."""


@signing.command()
@format_option()
@click.option("--asymmetric", is_flag=True, help="An ed25519 pair: whsk_ signs (v1a), receivers verify with whpk_.")
def keygen(asymmetric: bool, output_format: str) -> None:
    """Print a new signing key: whsec_, which sender and receiver share (v1), or an ed25519 pair.

    It is printed and kept nowhere: put it where the binding file finds it. With --asymmetric the first line is the
    private key, the second the public one, which is no secret.
    """
    import secrets

    from reconciler.request.sign import secret_text

    if asymmetric:
        _out_pair(secrets.token_bytes(KEY_BYTES), output_format)
        return
    key = secret_text(secrets.token_bytes(KEY_BYTES))
    if output_format == "json":
        view.out_json({"secret": key})
    else:
        view.out(key)


def _out_pair(seed: bytes, output_format: str) -> None:
    from reconciler.request.sign import PrivateKey, parse_signer, private_text

    private = private_text(seed)
    signer = parse_signer(private)
    assert isinstance(signer, PrivateKey)
    if output_format == "json":
        view.out_json({"private_key": private, "public_key": signer.public_text()})
        return
    view.out(private)
    view.out(signer.public_text())


@signing.command()
@secrets_option
@format_option()
@click.option(
    "--key-file",
    "key_files",
    multiple=True,
    metavar="FILE",
    help="A file with a key: whsec_, whpk_, whsk_ or PEM. Repeatable.",
)
@click.option("--secret", "names", multiple=True, metavar="NAME", help="A key by its name in --secrets. Repeatable.")
@click.option("--headers", metavar="FILE", help="The request's headers, one `name: value` a line.")
@click.option("--body", metavar="FILE", help="Its body, byte for byte; - is standard input.")
@click.option(
    "--request",
    metavar="FILE",
    help="Headers and body in one: a line of the sandbox's --record, or what `deliveries show --format json` prints.",
)
@click.option("--tolerance", default="5m", show_default=True, metavar="DURATION", help="How old it may be, or ahead.")
@click.option("--at", metavar="TIME", help="Judge its age at this time (RFC 3339).  [default: now]")
def verify(**options: Any) -> int:
    """Tell whether a receiver with these keys would take a request, and which key fits.

    The request is given as --headers and --body, or as --request. Exit code 1 where it is not verified.
    """
    from reconciler.request.verify import verify as judge

    tolerance_seconds, now = _tolerance(options["tolerance"]), _now(options["at"])
    keys = _keys(options["key_files"], options["names"], options["secrets_file"])
    headers, body = _request(options)
    verdict = judge(headers, body, keys, now=now, tolerance_seconds=tolerance_seconds)
    if options["output_format"] == "json":
        view.out_json(verdict.to_json())
    elif verdict.problem is None:
        view.out(f"verified: {verdict.scheme} by {view.visible(verdict.key or '')}, signed {verdict.age_seconds} s ago")
    else:
        view.say_error(f"not verified: {verdict.problem}", hint=verdict.hint)
    return EXIT_OK if verdict.problem is None else EXIT_FAILED


def _tolerance(text: str) -> float:
    from reconciler.models.field import parse_duration

    try:
        return parse_duration(text).total_seconds()
    except ValueError as exc:
        raise OptionError(f"`--tolerance` cannot be read: {text[:40]}", hint=f"it {exc}") from None


def _now(text: str | None) -> int:
    from reconciler.models.credential import parse_time

    if text is None:
        return int(time.time())
    at = parse_time(text)
    if at is None:
        raise OptionError(f"`--at` is not a time with its offset: {text[:40]}", hint="like 2026-01-31T09:00:00Z")
    return int(at.timestamp())


def _keys(files: Sequence[str], names: Sequence[str], secrets_file: str | None) -> "list[VerifyingKey]":
    from reconciler.egress.secrets import SecretResolver
    from reconciler.request.sign import KEY_HINT, KeyTextError
    from reconciler.request.verify import parse_verifying_key

    if not files and not names:
        raise OptionError("no key is given", hint="name one by `--key-file FILE`, or by `--secret NAME --secrets FILE`")
    texts = [(file, _text(_read(file), file).strip()) for file in files]
    if names:
        resolver = SecretResolver.load(Path(secrets_file) if secrets_file else None)
        texts += [(name, resolver.value(name)) for name in names]
    keys = []
    for name, text in texts:
        try:
            keys.append(parse_verifying_key(name, text))
        except KeyTextError as exc:
            raise ReconcilerError(f"`{name}` is no signing key: {exc}", hint=KEY_HINT) from None
    return keys


def _request(options: Mapping[str, Any]) -> tuple[Mapping[str, str], bytes]:
    """Headers and body of the request that the options name."""
    given = [name for name in ("headers", "body", "request") if options[name] is not None]
    if given == ["request"]:
        return _recorded(_text(_read(options["request"]), options["request"]), options["request"])
    if given != ["headers", "body"]:
        raise OptionError(
            f"the request is not given whole: {', '.join(f'`--{name}`' for name in given) or 'nothing'}",
            hint="give `--headers FILE` and `--body FILE`, or `--request FILE`",
        )
    headers: dict[str, str] = {}
    for line in _text(_read(options["headers"]), options["headers"]).splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip():
            headers[name.strip()] = value.strip()
    return headers, _read(options["body"])


def _recorded(text: str, file: str) -> tuple[Mapping[str, str], bytes]:
    """The request of a record: of a file of JSON lines the last one, of a delivery that of its last attempt."""
    import base64

    from reconciler import jsontext

    try:
        try:
            value = jsontext.loads(text)
        except ValueError:
            value = jsontext.loads(text.strip().rpartition("\n")[2])
        if "attempt_log" in value:
            value = next(item["request"] for item in reversed(value["attempt_log"]) if item.get("request"))
        headers, body = value["headers"], value["body"]
        raw = base64.b64decode(value["body_base64"]) if "body_base64" in value else body.encode("utf-8")
        return {str(name): str(item) for name, item in headers.items()}, raw
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
        raise ReconcilerError(f"there is no request with headers and body in it: {file}") from None


def _read(file: str) -> bytes:
    """A file's bytes, or standard input's; an unreadable file is an OSError."""
    if file == STDIN:
        return sys.stdin.buffer.read(FILE_MAX_BYTES)
    with Path(file).open("rb") as opened:
        return opened.read(FILE_MAX_BYTES)


def _text(raw: bytes, file: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ReconcilerError(f"it is not UTF-8: {file}") from None
