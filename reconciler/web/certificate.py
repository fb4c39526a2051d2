"""The daemon's own certificate: the TLS it serves with, and the names it answers to. Read once, when the daemon starts.

Called by `daemon`. The private key goes to OpenSSL and nowhere else.
"""

import ssl
from pathlib import Path

from reconciler.errors import ReconcilerError


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
