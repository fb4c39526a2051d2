"""The daemon's own certificate: which names it makes ours."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reconciler.errors import ReconcilerError
from reconciler.web.certificate import certificate_names, server_context


def test_dns_names_and_addresses_are_ours(tmp_path: Path) -> None:
    """Of the first certificate of a chain, in lower case."""
    authority = trustme.CA().create_child_ca()
    issued = authority.issue_cert("Daemon.Example.com", "*.apps.example.com", "10.9.8.7", "::1")
    file = tmp_path / "chain.pem"
    file.write_bytes(b"".join(item.bytes() for item in issued.cert_chain_pems))

    assert certificate_names(file) == ("daemon.example.com", "*.apps.example.com", "10.9.8.7", "::1")


def test_a_common_name_is_no_name(tmp_path: Path) -> None:
    """Clients have not looked at it since RFC 6125; nor do we."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "daemon.example.com")])
    now = datetime(2026, 11, 24, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    file = tmp_path / "bare.pem"
    file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    assert certificate_names(file) == ()


def test_a_chain_is_served_whole_and_old_tls_is_not_spoken(tmp_path: Path) -> None:
    """TLS 1.2 and later."""
    issued = trustme.CA().issue_cert("daemon.example.com")
    (tmp_path / "cert.pem").write_bytes(issued.cert_chain_pems[0].bytes())
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")

    context = server_context(tmp_path / "cert.pem", tmp_path / "key.pem")

    assert context.minimum_version.name == "TLSv1_2"


@pytest.mark.parametrize(
    "text", ["", "not a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_is_said(tmp_path: Path, text: str) -> None:
    """With the file's name."""
    file = tmp_path / "cert.pem"
    file.write_text(text)

    with pytest.raises(ReconcilerError, match=r"cert\.pem"):
        certificate_names(file)
