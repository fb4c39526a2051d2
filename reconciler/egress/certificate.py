"""What a person must know of certificates in PEM: whose, by whom, from when until when. For `auth test`."""

from dataclasses import dataclass
from datetime import datetime

from reconciler.egress.pem import pem_text


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate; names as RFC 4514 writes them."""

    subject: str
    issuer: str
    begins_at: datetime
    ends_at: datetime


def certificates_of(text: str) -> tuple[Certificate, ...]:
    """Those in a text that OpenSSL has read already, in order. Raises ValueError."""
    from cryptography import x509

    return tuple(
        Certificate(
            found.subject.rfc4514_string(),
            found.issuer.rfc4514_string(),
            found.not_valid_before_utc,
            found.not_valid_after_utc,
        )
        for found in x509.load_pem_x509_certificates(pem_text(text).encode())
    )
