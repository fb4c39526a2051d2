"""Host names as they stand in a URL: what may be resolved at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.address import judge_host

IP_SPELLINGS = [
    *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7F.0.0.1", "0177.0.0.1", "017700000001"),
    *("0x7f.1", "0177.0x0.0.1", "127.0.0.1.", "127.1.", "0", "0.0.0.0", "00", "0x0", "0x", "1.2.3.4", "8.8.8.8"),
    *("3232235777", "0xc0a80101", "0300.0250.1.1", "169.254.169.254", "0xa9fea9fe", "2852039166", "169.254.43518"),
    *("255.255.255.255", "4294967295", "4294967296", "256.256.256.256", "1.2.3.4.5", "1.2.3.09", "example.1"),
    *("example.0x1f", "99999999999999999999999", "[::1]", "::1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "::"),
    *("[fe80::1%25eth0]", "fe80::1%eth0", "[fd00:ec2::254]", "2001:db8::1", "[v1.x]", "[", "[::1", "a:b.example"),
]
LOCAL = ["localhost", "LOCALHOST", "localhost.", "a.localhost", "a.b.LocalHost.", "localhost.localdomain"]
MALFORMED = [
    *("", ".", "..", ".example.com", "example..com", "example.com..", "-a.example", "a-.example", "a_b.example"),
    *("a b.example", "a\tb.example", "a\n.example", "a\0.example", "a/b.example", "a@b.example", "a?b.example"),
    *("a#b.example", "a\\b.example", "<DOMAIN>.okta.com", "${secret:x}.example.com", "a*.example.com", "*.example.com"),
    *("127%2e0%2e0%2e1", "%6cocalhost", "a%00.example", "intranet", "com", "com.", "a" * 64 + ".example"),
    ".".join(["a" * 50] * 5) + ".example",
]
NOT_ASCII = [
    "bücher.example",
    "１２７.0.0.1",
    "127。0。0。1",
    "ⓛocalhost",
    "a\u00ad.example",
    "\ud800.example",
    "ｅ.example",
]
FINE = [
    *("example.com", "EXAMPLE.com", "example.com.", "acme.workflows.okta.com", "xn--bcher-kva.example", "a.b"),
    *("1.example.com", "127.0.0.1.nip.io", "0x7f.example", "a--b.example", "localhost.example.com", "notlocalhost.com"),
    *("a" * 63 + ".example", "9.9.9.9.example"),
]


@pytest.mark.parametrize("host", IP_SPELLINGS)
def test_an_address_in_any_spelling_is_refused(host: str) -> None:
    """No IP literal in a URL: whatever ends in a number or holds a colon is one."""
    reason = judge_host(host)

    assert reason is not None
    assert reason.startswith("the host is an IP address")


@pytest.mark.parametrize("host", LOCAL)
def test_this_machine_is_refused(host: str) -> None:
    """RFC 6761, section 6.3: `localhost` and every name under it, trailing dot or not."""
    reason = judge_host(host)

    assert reason is not None
    assert reason.startswith("the host is this machine")


@pytest.mark.parametrize("host", MALFORMED)
def test_what_is_no_host_name_is_refused(host: str) -> None:
    """RFC 1123 names of at least two labels; nothing a resolver, a proxy and a person could read differently."""
    assert judge_host(host) is not None


@pytest.mark.parametrize("host", NOT_ASCII)
def test_a_name_beyond_ascii_is_refused_with_the_spelling_to_use(host: str) -> None:
    """Which ASCII name a Unicode name means differs between IDNA versions, so the author writes it."""
    reason = judge_host(host)

    assert reason is not None
    assert reason.startswith("the host is not ASCII")
    assert reason.isascii()


@pytest.mark.parametrize("host", FINE)
def test_a_host_name_passes(host: str) -> None:
    """Numbers inside a name are fine; only a name that ends in one is an address."""
    assert judge_host(host) is None


def test_the_reason_says_which_address_a_spelling_means() -> None:
    """A reviewer must not have to convert hexadecimal."""
    assert judge_host("0x7f.1") == "the host is an IP address: 0x7f.1 (127.0.0.1)"
    assert judge_host("１２７.0.0.1") == "the host is not ASCII: \\uff11\\uff12\\uff17.0.0.1 (it reads as 127.0.0.1)"
    assert judge_host("bücher.example") == (
        "the host is not ASCII: b\\xfccher.example (write it as xn--bcher-kva.example)"
    )


def test_a_port_is_called_a_port() -> None:
    """In a policy or a binding somebody may write one; only IPv6 addresses have more colons."""
    assert judge_host("example.com:443") == "the host has a port: example.com:443"
    assert judge_host("1:2:443").startswith("the host is an IP address")


@given(st.text(max_size=300))
def test_any_text_gets_a_verdict(host: str) -> None:
    """The judgement never raises, and its reason is one printable line."""
    reason = judge_host(host)

    assert reason is None or (reason.isprintable() and reason.isascii() and len(reason) < 300)


@given(st.integers(0, 2**32 - 1))
def test_a_number_of_any_size_is_an_address(number: int) -> None:
    """Decimal, hexadecimal and octal spellings of every IPv4 address are refused."""
    assert all(judge_host(spelling) for spelling in (str(number), hex(number), f"0{number:o}", f"1.{number}"))
