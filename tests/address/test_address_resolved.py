"""Addresses that a name resolved to: which may be dialled."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.address import judge_address

REFUSED = [
    ("0.0.0.0", "this network"),
    ("0.255.255.255", "this network"),
    ("10.0.0.0", "private"),
    ("10.255.255.255", "private"),
    ("100.64.0.0", "carrier-grade NAT"),
    ("100.127.255.255", "carrier-grade NAT"),
    ("100.100.100.200", "metadata service (Alibaba Cloud)"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("168.63.129.16", "metadata service (Azure wire server)"),
    ("169.254.0.1", "link-local"),
    ("169.254.169.254", "metadata service"),
    ("169.254.170.2", "metadata service (AWS ECS)"),
    ("169.254.170.23", "metadata service (AWS EKS)"),
    ("172.16.0.0", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.1", "IETF protocol"),
    ("192.0.0.192", "metadata service (Oracle Cloud)"),
    ("192.0.2.1", "documentation"),
    ("192.31.196.1", "AS112"),
    ("192.52.193.1", "AMT"),
    ("192.88.99.1", "6to4 relay"),
    ("192.168.0.1", "private"),
    ("192.175.48.1", "AS112"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("198.51.100.7", "documentation"),
    ("203.0.113.7", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.250", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.254", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::2", "IPv4-compatible"),
    ("::127.0.0.1", "IPv4-compatible loopback"),
    ("::ffff:127.0.0.1", "IPv4-mapped loopback"),
    ("::ffff:7f00:1", "IPv4-mapped loopback"),
    ("::ffff:a9fe:a9fe", "IPv4-mapped metadata service"),
    ("::ffff:10.1.2.3", "IPv4-mapped private"),
    ("::ffff:0:127.0.0.1", "IPv4-translated loopback"),
    ("64:ff9b::127.0.0.1", "NAT64 loopback"),
    ("64:ff9b::a9fe:a9fe", "NAT64 metadata service"),
    ("64:ff9b:1::10.0.0.1", "local NAT64 private"),
    ("64:ff9b:1:7f00:0:100::", "outside global unicast"),
    ("100::1", "discard"),
    ("100:0:0:1::1", "dummy"),
    ("2001::1", "Teredo"),
    ("2001:0:7f00:1::f7f7:f7f7", "Teredo loopback"),
    ("2001:0:808:808::80ff:fffe", "Teredo loopback"),
    ("2001:2::1", "IETF protocol"),
    ("2001:20::1", "IETF protocol"),
    ("2001:db8::1", "documentation"),
    ("2002:7f00:1::", "6to4 loopback"),
    ("2002:a00:1::1", "6to4 private"),
    ("2002:a9fe:a9fe::", "6to4 metadata service"),
    ("2620:4f:8000::1", "AS112"),
    ("3ffe::1", "6bone"),
    ("3fff::1", "documentation"),
    ("3fff:fff::1", "documentation"),
    ("4000::1", "outside global unicast"),
    ("5f00::1", "segment-routing"),
    ("fc00::1", "unique local"),
    ("fd12:3456::1", "unique local"),
    ("fd00:ec2::254", "metadata service (AWS)"),
    ("fd20:ce::254", "metadata service (Google Cloud)"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "zone"),
    ("2606:4700::1111%eth0", "zone"),
    ("febf::1", "link-local"),
    ("fec0::1", "site-local"),
    ("feff::1", "site-local"),
    ("ff02::1", "multicast"),
    ("", "not an IP address"),
    ("127.1", "not an IP address"),
    ("0177.0.0.1", "not an IP address"),
    ("8.8.8.8/32", "not an IP address"),
    ("example.com", "not an IP address"),
    ("::ffff:8.8.8.8.8", "not an IP address"),
]
FINE = [
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
    *("128.0.0.1", "168.63.129.15", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.0.1"),
    *("192.0.1.1", "192.0.3.1", "192.167.255.255", "192.169.0.1", "198.17.255.255", "198.20.0.0", "203.0.114.1"),
    *("223.255.255.255", "2606:4700:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "2001:200::1"),
    *("::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b:1::8.8.8.8", "2002:808:808::1", "2001:0:808:808::f7f7:f7f7"),
]


@pytest.mark.parametrize(("address", "reason"), REFUSED)
def test_an_address_that_is_not_public_is_refused_by_name(address: str, reason: str) -> None:
    """IANA's special-purpose registries, the clouds' metadata services, and what stands for one of them in IPv6."""
    verdict = judge_address(address)

    assert verdict is not None
    assert reason in verdict


@pytest.mark.parametrize("address", FINE)
def test_a_public_address_passes(address: str) -> None:
    """The neighbours of every refused network are public."""
    assert judge_address(address) is None


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_judged_like_the_one_it_stands_for(address: IPv4Address) -> None:
    """A translator, tunnel or mapped socket must not open what the plain address does not."""
    plain = judge_address(str(address))
    forms = (f"::ffff:{address}", f"64:ff9b::{address}", f"64:ff9b:1::{address}", f"::ffff:0:{address}")

    assert all((judge_address(form) is None) == (plain is None) for form in forms)


@given(st.ip_addresses(v=6))
def test_no_address_outside_global_unicast_passes(address: IPv6Address) -> None:
    """2000::/3 is all that is routed; the only others that pass stand for a public IPv4 address."""
    text = str(address)
    is_global_unicast = address.packed[0] >> 5 == 1

    assert judge_address(text) is not None or is_global_unicast or text.startswith(("::", "64:ff9b:"))
