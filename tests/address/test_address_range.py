"""An operator's ranges: which there may be, and what they let through."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.address import judge_address, read_range

METADATA = ["169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "64:ff9b::a9fe:a9fe"]


@pytest.mark.parametrize(
    "text", ["10.0.0.0/8", "10.1.2.3", "100.64.0.0/10", "127.0.0.0/8", "fd12:3456::/48", "64:ff9b::/96", "4000::/16"]
)
def test_a_range_of_what_is_refused_can_be_allowed(text: str) -> None:
    """And then its addresses pass."""
    found = read_range(text)

    assert judge_address(str(found.network_address)) is not None
    assert judge_address(str(found.network_address), allowed=[found]) is None


@pytest.mark.parametrize(
    "text", ["0.0.0.0/0", "10.0.0.0/7", "::/0", "8.8.8.8", "8.8.8.0/24", "2606:4700::/32", "172.16.0.0/11", "1::/1"]
)
def test_a_range_wider_than_what_is_refused_is_a_slip(text: str) -> None:
    """A public address needs no permission, so such a range says something else than its author thinks."""
    with pytest.raises(ValueError, match=r"not inside one of the ranges that are refused|not an address or a range"):
        read_range(text)


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "10.0.0.0/33", "private", "10.*", "fe80::1%lo/64", "1" * 500])
def test_what_is_no_range_is_said(text: str) -> None:
    """With host bits it could mean either end."""
    with pytest.raises(ValueError, match="not an address or a range") as caught:
        read_range(text)

    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("address", METADATA)
def test_a_metadata_service_is_allowed_by_its_very_address_only(address: str) -> None:
    """It hands out the machine's credentials: no range that merely holds it is meant."""
    around = ip_network(f"{address}/{96 if ':' in address else 10}", strict=False)

    assert judge_address(address, allowed=[around]) is not None
    assert judge_address(address, allowed=[read_range(address)]) is None


@pytest.mark.parametrize("other", ["::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::", "10.0.0.1%lo", "11.0.0.1%1"])
def test_another_form_of_an_allowed_address_is_another_address(other: str) -> None:
    """Whoever allows 10.0.0.0/8 did not say that a translator may be used."""
    assert judge_address(other, allowed=[read_range("10.0.0.0/8")]) is not None


@pytest.mark.parametrize(
    "address", ["2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:127.0.0.1", "2001:470:1:2:0:5efe:169.254.169.254"]
)
def test_the_ipv4_end_of_an_isatap_address_is_judged(address: str) -> None:
    """RFC 5214: under any prefix, the last 32 bits say where the tunnel ends."""
    reason = judge_address(address)

    assert reason is not None
    assert reason.startswith("ISATAP ")


def test_an_isatap_address_with_a_public_end_passes() -> None:
    """It leads nowhere inside."""
    assert judge_address("2606:4700::5efe:8.8.8.8") is None


@given(st.ip_addresses(v=4), st.integers(8, 32))
def test_an_allowed_range_changes_the_verdict_of_its_own_addresses_only(address: object, length: int) -> None:
    """Whatever lies outside is judged as if there were no range."""
    allowed = [ip_network(f"10.0.0.0/{length}")]

    if ip_network(f"{address}/32").subnet_of(allowed[0]):  # type: ignore[arg-type]
        assert judge_address(f"{address}", allowed=allowed) is None
    else:
        assert judge_address(f"{address}", allowed=allowed) == judge_address(f"{address}")
