"""The daemon's own certificate: the TLS it serves with, and the names it answers to.

Called by `daemon`. The private key goes to OpenSSL and nowhere else. A certificate renewed in its place is taken
without a restart; the names are those of the first one. `health` imports it for the names, and nothing besides.
"""

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.egress.operator_file import Signature

LOOK_SECONDS: Final = 2.0  # how often it is looked whether the files are others


class ServingTls:
    """The TLS that the daemon serves with, kept as its two files are. Raises ReconcilerError if they are of no use."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        self._files = (certificate, private_key)
        self._seen = self._look()
        self.names = certificate_names(certificate)
        self.context = server_context(certificate, private_key)

    async def watch(self) -> None:
        """Take renewed files for the connections that come, until cancelled."""
        import asyncio

        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.renew()

    def renew(self) -> None:
        """Take the files if they are others; those of no use, half replaced perhaps, are told and left."""
        seen = self._look()
        if seen == self._seen:
            return
        from reconciler.observe.log import log

        self._seen = seen
        certificate, private_key = self._files
        try:
            server_context(certificate, private_key)  # a trial: halfway the serving one would be left without a key
            self.context.load_cert_chain(certificate, private_key, password=_no_password)
        except (ReconcilerError, OSError, ValueError) as exc:
            log("certificate.refused", why=exc.message if isinstance(exc, ReconcilerError) else str(exc))
        else:
            log("certificate.renewed", file=str(certificate))

    def _look(self) -> "tuple[Signature, ...]":
        from reconciler.egress.operator_file import signature

        return tuple(map(signature, self._files))


def server_context(certificate: Path, private_key: Path) -> ssl.SSLContext:
    """TLS 1.2 and later with the certificate chain and the key of two PEM files. Raises ReconcilerError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    for path, option in ((certificate, "--tls-cert"), (private_key, "--tls-key")):
        try:
            path.open("rb").close()
        except OSError as exc:
            reason = (exc.strerror or str(exc)).lower()
            raise ReconcilerError(f"`{option}` cannot be read: {path}: {reason}") from exc
    try:
        context.load_cert_chain(certificate, private_key, password=_no_password)
    except (ssl.SSLError, ValueError) as exc:
        raise ReconcilerError(
            f"`--tls-cert` and `--tls-key` cannot be used together: {certificate}, {private_key}",
            hint="they must be a PEM certificate, its chain below it, and its PEM key without a password",
        ) from exc
    return context


def certificate_names(certificate: Path) -> tuple[str, ...]:
    """The DNS names (`*.` for one label) and IP addresses of the first certificate in a PEM file (RFC 6125, 6.4).
    Raises ReconcilerError for what is no certificate."""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    except ValueError as exc:
        raise ReconcilerError(f"`--tls-cert` holds no certificate that can be read: {certificate}") from exc
    dns = names.get_values_for_type(x509.DNSName)
    addresses = names.get_values_for_type(x509.IPAddress)
    return (*(name.lower() for name in dns), *(str(address) for address in addresses))


def _no_password() -> str:
    """Asked for when the key is encrypted; OpenSSL would prompt on the terminal otherwise."""
    raise ValueError("the private key has a password")
