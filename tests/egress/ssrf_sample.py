"""Addresses and spellings that no webhook may reach: each special IPv4 address in every form that IPv6 has for it."""

from ipaddress import IPv4Address, IPv6Address

SPECIAL_IPV4 = (
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.254", "100.100.100.200"),
    *("127.0.0.1", "127.0.0.53", "127.255.255.254", "168.63.129.16", "169.254.0.1", "169.254.169.254"),
    *("169.254.170.2", "169.254.170.23", "172.16.0.1", "172.31.255.254", "192.0.0.1", "192.0.0.192", "192.0.2.7"),
    *("192.88.99.1", "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.254", "198.51.100.7"),
    *("203.0.113.7", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
)
SPECIAL_IPV6 = (
    *("::", "::1", "::2", "100::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "3fff::1", "5f00::1"),
    *("fc00::1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd12:3456:789a::1", "fe80::1", "fe80::1%lo"),
    *("febf::1", "fec0::1", "ff02::1", "ff05::1:3", "64:ff9b:2::1", "64:ff9b:1:7f00:0:100::", "4000::1", "::1%1"),
    *("2001:1::1", "3ffe::1", "0:0:0:0:0:0:0:1", "::ffff:0:0:1", "fd00:c1::a9fe:a9fe"),
)
NO_ADDRESS = ("", "localhost", "127.1", "0x7f000001", "2130706433", "127.0.0.1 ", "127.0.0.01", "::1]", "１27.0.0.1")


def embedded_forms(address: str) -> tuple[str, ...]:
    """The IPv6 addresses that stand for an IPv4 address."""
    number = int(IPv4Address(address))
    inverted = number ^ 0xFFFFFFFF
    return tuple(
        str(IPv6Address(value))
        for value in (
            (0xFFFF << 32) | number,  # mapped
            (0xFFFF << 48) | number,  # translated
            number,  # compatible
            int(IPv6Address("64:ff9b::")) | number,
            int(IPv6Address("64:ff9b:1::")) | number,
            (0x2002 << 112) | (number << 80) | 1,  # 6to4
            (0x20010000 << 96) | (number << 64) | (int(IPv4Address("8.8.8.8")) ^ 0xFFFFFFFF),  # Teredo server
            (0x20010000 << 96) | (int(IPv4Address("8.8.8.8")) << 64) | inverted,  # Teredo client
            int(IPv6Address("2606:4700::")) | (0x5EFE << 32) | number,  # ISATAP
            int(IPv6Address("2606:4700::")) | (0x02005EFE << 32) | number,
        )
    )


ADDRESSES = tuple(
    dict.fromkeys(
        (
            *SPECIAL_IPV4,
            *SPECIAL_IPV6,
            *(form for address in SPECIAL_IPV4 for form in embedded_forms(address)),
            *NO_ADDRESS,
        )
    )
)

SPELLINGS = (
    *("127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7F.0.0.1", "0177.0.0.1"),
    *("017700000001", "0x7f.1", "0177.0x0.0.1", "0", "0x0", "0.0.0.0", "00000000", "127.0.0.1.."),
    *("169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "0xA9.254.0251.254"),
    *("10.0.0.1", "167772161", "012.0.0.1", "192.168.1", "3232235777", "168.63.129.16", "100.100.100.200"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:1]", "[64:ff9b::7f00:1]"),
    *("[2002:7f00:1::]", "[fd00:ec2::254]", "[fe80::1%25lo]", "[fe80::1]", "[::127.0.0.1]"),
    *("localhost", "LOCALHOST", "localhost.", "a.localhost", "localhost.localdomain", "intranet", "metadata"),
    *("127%2e0%2e0%2e1", "%6cocalhost", "127.0.0.1%00.example.com", "１２７.0.0.1", "127。0。0。1", "①②⑦.0.0.1"),
    *("ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "8.8.8.8", "134744072", "1.2.3.4.5", "example.0x1f", "256.256.256.256", "4294967296"),
)
