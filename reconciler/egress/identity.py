"""TLS of one webhook's own: the client certificate it shows, and the authority it trusts in place of the usual ones.

Made by `egress.deliver` of secrets, used by `egress.dial`; connections of one identity are never lent to another.
Nothing here can turn verification off or go below TLS 1.2. Keys reach OpenSSL through memory, not through a disk.
"""

import contextlib
import hashlib
import os
import ssl
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler.egress.dial import make_context
from reconciler.egress.pem import PemError, pem_text, refuse_wrong_kind
from reconciler.errors import SecretError
from reconciler.models.credential import MutualTls, Tls
from reconciler.models.webhook import Webhook, fill_secrets, secret_names

CONTEXTS_MAX: Final = 256  # identities kept ready; a context holds the system's roots, some 0.5 MB
CERTIFICATE: Final = "CERTIFICATE"
KEY: Final = "PRIVATE KEY"
MISMATCHES: Final = frozenset(  # OpenSSL's words for a key of another certificate
    ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a connection is made with; `digest` tells identities apart and holds no secret."""

    digest: str
    context: ssl.SSLContext


class Identities:
    """The contexts made so far. `ca_file` holds the operator's authorities beside the system's."""

    def __init__(self, ca_file: Path | None) -> None:
        self._ca_file = ca_file
        self._made: OrderedDict[str, Identity] = OrderedDict()
        self._lock = threading.Lock()  # the lanes ask from a thread of their own

    def of(self, webhook: Webhook, secrets: Mapping[str, str]) -> Identity | None:
        """The webhook's identity; None where it has none of its own. Raises SecretError for what is no PEM, or a key
        that does not belong to its certificate."""
        mtls = webhook.spec.auth.mtls if webhook.spec.auth is not None else None
        if mtls is None and webhook.spec.tls is None:
            return None
        parts = _parts(mtls, webhook.spec.tls, secrets)
        digest = hashlib.sha256("\0".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()
        with self._lock:
            identity = self._made.get(digest)
            if identity is None:
                identity = Identity(digest, self._context(mtls, webhook.spec.tls, parts))
                while len(self._made) >= CONTEXTS_MAX:
                    self._made.popitem(last=False)
                self._made[digest] = identity
            self._made.move_to_end(digest)
        return identity

    def _context(self, mtls: MutualTls | None, tls: Tls | None, parts: tuple[str, str, str]) -> ssl.SSLContext:
        certificate, private_key, authority = parts
        if tls is None:
            context = make_context(self._ca_file)
        else:
            try:
                context = make_context(None, only=pem_text(authority))
            except (PemError, ssl.SSLError, ValueError) as exc:
                raise _unusable(tls.ca, "no certificate of an authority in PEM", exc) from None
        if mtls is not None:
            _show(context, mtls, certificate, private_key)
        return context


def _parts(mtls: MutualTls | None, tls: Tls | None, secrets: Mapping[str, str]) -> tuple[str, str, str]:
    certificate = fill_secrets(mtls.certificate, secrets) if mtls is not None else ""
    private_key = fill_secrets(mtls.private_key, secrets) if mtls is not None else ""
    return certificate, private_key, fill_secrets(tls.ca, secrets) if tls is not None else ""


def _show(context: ssl.SSLContext, mtls: MutualTls, certificate: str, private_key: str) -> None:
    """Have the context show the certificate with what stands below it. Raises SecretError."""
    for reference, text, kind in ((mtls.certificate, certificate, CERTIFICATE), (mtls.private_key, private_key, KEY)):
        try:
            refuse_wrong_kind(text, kind)
        except PemError as exc:
            raise _unusable(reference, f"no {kind.lower()} in PEM", exc) from None
    whole = f"{pem_text(private_key)}\n{pem_text(certificate)}\n"
    try:
        with _readable_once(whole.encode("utf-8", "surrogatepass")) as path:
            context.load_cert_chain(path, password=_no_password)
    except (ssl.SSLError, ValueError) as exc:
        is_mismatch = isinstance(exc, ssl.SSLError) and exc.reason in MISMATCHES
        fact = PemError("the key does not belong to the certificate, which must stand first of its chain")
        raise _unusable(mtls.private_key, "no key of the certificate", fact if is_mismatch else exc) from None


def _unusable(reference: str, what: str, exc: Exception) -> SecretError:
    """The error for a value that is not what its field wants; OpenSSL's own words may quote it and are left out."""
    name = min(secret_names(reference), default="")
    fact = str(exc) if isinstance(exc, PemError) else "it cannot be read"
    hint = "give PEM, the certificate first and its chain below it, and its key without a passphrase"
    return SecretError(f"secret `{name}` is {what}: {fact}", name=name, hint=hint)


@contextlib.contextmanager
def _readable_once(content: bytes) -> Iterator[str]:
    """A path by which OpenSSL, which takes nothing but files, reads the content: memory of this process alone, or where
    the system has no such files one of mode 0600 in a folder of mode 0700, gone right after."""
    with contextlib.ExitStack() as stack:
        if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
            descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
            path = f"/proc/self/fd/{descriptor}"
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="reconciler-"))
            path = os.path.join(folder, "pem")  # noqa: PTH118  text, as OpenSSL wants it
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        stack.callback(os.close, descriptor)
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        yield path


def _no_password() -> str:
    """Asked for when the key is encrypted; OpenSSL would prompt on the terminal otherwise."""
    raise ValueError("the private key has a passphrase")
