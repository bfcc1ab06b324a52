"""Special-purpose networks at their edges, and the IPv4 addresses inside IPv6 ones."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest

from towline.core.address import AddressKind, carried, plain, special

K = AddressKind
KINDS: list[tuple[str, AddressKind | None]] = [
    # --- each block: the address before it, its first, its last, the address after it ---
    ("0.0.0.0", K.UNSPECIFIED),
    ("0.255.255.255", K.UNSPECIFIED),
    ("1.0.0.0", None),
    ("9.255.255.255", None),
    ("10.0.0.0", K.PRIVATE),
    ("10.255.255.255", K.PRIVATE),
    ("11.0.0.0", None),
    ("100.63.255.255", None),
    ("100.64.0.0", K.PRIVATE),
    ("100.127.255.255", K.PRIVATE),
    ("100.128.0.0", None),
    ("126.255.255.255", None),
    ("127.0.0.0", K.LOOPBACK),
    ("127.255.255.255", K.LOOPBACK),
    ("128.0.0.0", None),
    ("169.253.255.255", None),
    ("169.254.0.0", K.LINKLOCAL),
    ("169.254.255.255", K.LINKLOCAL),
    ("169.255.0.0", None),
    ("172.15.255.255", None),
    ("172.16.0.0", K.PRIVATE),
    ("172.31.255.255", K.PRIVATE),
    ("172.32.0.0", None),
    ("191.255.255.255", None),
    ("192.0.0.0", K.RESERVED),
    ("192.0.0.255", K.RESERVED),
    ("192.0.1.0", None),
    ("192.0.1.255", None),
    ("192.0.2.0", K.RESERVED),
    ("192.0.2.255", K.RESERVED),
    ("192.0.3.0", None),
    ("192.88.98.255", None),
    ("192.88.99.0", K.RESERVED),
    ("192.88.99.255", K.RESERVED),
    ("192.88.100.0", None),
    ("192.167.255.255", None),
    ("192.168.0.0", K.PRIVATE),
    ("192.168.255.255", K.PRIVATE),
    ("192.169.0.0", None),
    ("198.17.255.255", None),
    ("198.18.0.0", K.RESERVED),
    ("198.19.255.255", K.RESERVED),
    ("198.20.0.0", None),
    ("198.51.99.255", None),
    ("198.51.100.0", K.RESERVED),
    ("198.51.100.255", K.RESERVED),
    ("198.51.101.0", None),
    ("203.0.112.255", None),
    ("203.0.113.0", K.RESERVED),
    ("203.0.113.255", K.RESERVED),
    ("203.0.114.0", None),
    ("223.255.255.255", None),
    ("224.0.0.0", K.MULTICAST),
    ("239.255.255.255", K.MULTICAST),
    ("240.0.0.0", K.RESERVED),
    ("255.255.255.254", K.RESERVED),
    ("255.255.255.255", K.MULTICAST),
    ("::", K.UNSPECIFIED),
    ("::1", K.LOOPBACK),
    ("::2", K.RESERVED),
    ("::7f00:1", K.RESERVED),  # IPv4-compatible 127.0.0.1, retired by RFC 4291 2.5.5.1
    ("::ffff:0:7f00:1", K.RESERVED),
    ("64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", K.RESERVED),
    ("64:ff9b::", None),
    ("64:ff9b::ffff:ffff", None),
    ("64:ff9b::1:0:0", K.RESERVED),
    ("64:ff9b:0:ffff:ffff:ffff:ffff:ffff", K.RESERVED),
    ("64:ff9b:1::", K.EMBEDDED_V4),
    ("64:ff9b:1:ffff:ffff:ffff:ffff:ffff", K.EMBEDDED_V4),
    ("64:ff9b:2::", K.RESERVED),
    ("64:ff9c::1", K.RESERVED),
    ("100::1", K.RESERVED),
    ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", K.RESERVED),
    ("2000::", None),
    ("2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None),
    ("2001::", None),
    ("2001:0:ffff:ffff:ffff:ffff:ffff:ffff", None),
    ("2001:1::", K.RESERVED),
    ("2001:2::1", K.RESERVED),
    ("2001:20::1", K.RESERVED),
    ("2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", K.RESERVED),
    ("2001:200::", None),
    ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", None),
    ("2001:db8::", K.RESERVED),
    ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", K.RESERVED),
    ("2001:db9::", None),
    ("2002::", None),
    ("2606:4700::1111", None),
    ("3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None),
    ("3fff::", K.RESERVED),
    ("3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", K.RESERVED),
    ("3fff:1000::", None),
    ("3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None),
    ("4000::", K.RESERVED),
    ("5f00::1", K.RESERVED),
    ("7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", K.RESERVED),
    ("8000::", K.RESERVED),
    ("fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", K.RESERVED),
    ("fc00::", K.PRIVATE),
    ("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", K.PRIVATE),
    ("fe00::", K.RESERVED),
    ("fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", K.RESERVED),
    ("fe80::", K.LINKLOCAL),
    ("febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", K.LINKLOCAL),
    ("fec0::1", K.RESERVED),
    ("feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", K.RESERVED),
    ("ff00::", K.MULTICAST),
    ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", K.MULTICAST),
    # --- metadata services, inside or outside the blocks above ---
    ("169.254.169.253", K.LINKLOCAL),
    ("169.254.169.254", K.METADATA),
    ("169.254.169.255", K.LINKLOCAL),
    ("100.100.100.199", K.PRIVATE),
    ("100.100.100.200", K.METADATA),
    ("168.63.129.15", None),
    ("168.63.129.16", K.METADATA),
    ("192.0.0.192", K.METADATA),
    ("fd00:ec1:ffff:ffff:ffff:ffff:ffff:ffff", K.PRIVATE),
    ("fd00:ec2::23", K.METADATA),
    ("fd00:ec2::254", K.METADATA),
    ("fd00:ec3::", K.PRIVATE),
    ("fd20:ce::253", K.PRIVATE),
    ("fd20:ce::254", K.METADATA),
    ("fd00:c1::a9fe:a9fe", K.METADATA),
    ("fd00:42::42", K.METADATA),
    ("fd00:a9fe:a9fe::1", K.METADATA),
]


@pytest.mark.parametrize(("text", "kind"), KINDS)
def test_special(text: str, kind: AddressKind | None) -> None:
    """Every block begins and ends where its RFC says, and the smallest block that holds an address counts."""
    row = special(ip_address(text))
    assert (row and row.kind) == kind


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("2606:4700::1111", "2606:4700::1111"),
    ],
)
def test_plain(text: str, expected: str) -> None:
    """IPv4-mapped addresses are the IPv4 address, and a zone does not make another address."""
    assert plain(ip_address(text)) == ip_address(expected)


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("10.0.0.1", ()),
        ("2606:4700::1111", ()),
        ("64:ff9b::a00:1", ("10.0.0.1",)),
        ("64:ff9b:1::a00:1", ("10.0.0.1",)),
        ("::ffff:0:a00:1", ("10.0.0.1",)),
        ("64:ff9c::a00:1", ()),
        ("2002:a00:1::1", ("10.0.0.1",)),
        ("2001:0:a00:1:0:0:f5ff:fffe", ("10.0.0.1", "10.0.0.1")),  # server, and client with its bits inverted
        ("2001:0:808:808:0:0:3fff:fdfe", ("8.8.8.8", "192.0.2.1")),
    ],
)
def test_carried(text: str, inside: tuple[str, ...]) -> None:
    """NAT64, IPv4-translated, 6to4 and Teredo addresses give up the IPv4 addresses that they lead to."""
    assert carried(ip_address(text)) == tuple(IPv4Address(address) for address in inside)
