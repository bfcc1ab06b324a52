"""What an IP address is for, by IANA's special-purpose registries, and which IPv4 address an IPv6 address carries.

The networks are written out, with the RFC that sets each apart: `ipaddress.is_private` and `is_global` are not used,
since their answers changed between releases of Python (CPython gh-113171, in 3.12.4 and 3.13). Two kinds of entry are
not IANA's: addresses where clouds hand credentials to whoever asks from inside, and all of IPv6 outside 2000::/3, the
only space that global unicast addresses are given out from. The anycast blocks of AS112 and AMT (RFC 7534, 7535, 7450)
are set apart but global, and are left out.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from towline.types import IPAddress, IPNetwork


class AddressKind(StrEnum):
    """What a special address is for; the value is the code of a refusal."""

    UNSPECIFIED = "dest_unspecified"
    LOOPBACK = "dest_loopback"
    PRIVATE = "dest_private"
    METADATA = "dest_metadata"
    LINKLOCAL = "dest_linklocal"
    MULTICAST = "dest_multicast"
    RESERVED = "dest_reserved"
    EMBEDDED_V4 = "dest_embedded_v4"


@dataclass(frozen=True, slots=True)
class SpecialNetwork:
    """A network that is set apart; `what` is the phrase for the reader."""

    network: IPNetwork
    kind: AddressKind
    what: str


_ROWS: tuple[tuple[str, AddressKind, str], ...] = (
    # --- cloud metadata: credentials for whoever asks from inside ---
    ("169.254.169.254/32", AddressKind.METADATA, "a cloud metadata service"),  # AWS, Azure, GCP, OCI and more
    ("100.100.100.200/32", AddressKind.METADATA, "the metadata service of Alibaba Cloud"),
    ("168.63.129.16/32", AddressKind.METADATA, "the WireServer of Azure"),
    ("192.0.0.192/32", AddressKind.METADATA, "the metadata service of Oracle Cloud Classic"),
    ("fd00:ec2::/32", AddressKind.METADATA, "a metadata service of AWS"),  # ::254 instances, ::23 EKS pods
    ("fd20:ce::254/128", AddressKind.METADATA, "the metadata service of Google Cloud"),
    ("fd00:c1::a9fe:a9fe/128", AddressKind.METADATA, "the metadata service of Oracle Cloud"),
    ("fd00:42::42/128", AddressKind.METADATA, "the metadata service of Scaleway"),
    ("fd00:a9fe:a9fe::1/128", AddressKind.METADATA, "the metadata service of Linode"),
    # --- IPv4 (iana-ipv4-special-registry) ---
    ("0.0.0.0/8", AddressKind.UNSPECIFIED, "an unspecified address (RFC 791)"),  # Linux connects it to loopback
    ("10.0.0.0/8", AddressKind.PRIVATE, "a private address (RFC 1918)"),
    ("100.64.0.0/10", AddressKind.PRIVATE, "an address shared behind a carrier's NAT (RFC 6598)"),
    ("127.0.0.0/8", AddressKind.LOOPBACK, "a loopback address (RFC 1122)"),
    ("169.254.0.0/16", AddressKind.LINKLOCAL, "a link-local address (RFC 3927)"),
    ("172.16.0.0/12", AddressKind.PRIVATE, "a private address (RFC 1918)"),
    ("192.0.0.0/24", AddressKind.RESERVED, "an address of IETF protocols (RFC 6890)"),
    ("192.0.2.0/24", AddressKind.RESERVED, "a documentation address (RFC 5737)"),
    ("192.88.99.0/24", AddressKind.RESERVED, "a retired 6to4 relay address (RFC 7526)"),
    ("192.168.0.0/16", AddressKind.PRIVATE, "a private address (RFC 1918)"),
    # Proxies in fake-ip mode (Clash, mihomo, sing-box) answer every name from this block.
    ("198.18.0.0/15", AddressKind.RESERVED, "a benchmarking address (RFC 2544) or a proxy's fake IP"),
    ("198.51.100.0/24", AddressKind.RESERVED, "a documentation address (RFC 5737)"),
    ("203.0.113.0/24", AddressKind.RESERVED, "a documentation address (RFC 5737)"),
    ("224.0.0.0/4", AddressKind.MULTICAST, "a multicast address (RFC 5771)"),
    ("240.0.0.0/4", AddressKind.RESERVED, "a reserved address (RFC 1112)"),
    ("255.255.255.255/32", AddressKind.MULTICAST, "the broadcast address (RFC 919)"),
    # --- IPv6 (iana-ipv6-special-registry, iana-ipv6-address-space) ---
    ("::/128", AddressKind.UNSPECIFIED, "the unspecified address (RFC 4291)"),
    ("::1/128", AddressKind.LOOPBACK, "the loopback address (RFC 4291)"),
    ("::/3", AddressKind.RESERVED, "outside the global unicast space (RFC 4291)"),
    ("4000::/2", AddressKind.RESERVED, "outside the global unicast space (RFC 4291)"),
    ("8000::/1", AddressKind.RESERVED, "outside the global unicast space (RFC 4291)"),
    # Where the IPv4 address lies in it is the network's own choice (RFC 6052 2.2), so that it cannot be judged.
    ("64:ff9b:1::/48", AddressKind.EMBEDDED_V4, "a NAT64 address for local use (RFC 8215)"),
    ("2001::/23", AddressKind.RESERVED, "an address of IETF protocols (RFC 2928)"),
    ("2001:db8::/32", AddressKind.RESERVED, "a documentation address (RFC 3849)"),
    ("3fff::/20", AddressKind.RESERVED, "a documentation address (RFC 9637)"),
    ("fc00::/7", AddressKind.PRIVATE, "a private address (RFC 4193)"),
    ("fe80::/10", AddressKind.LINKLOCAL, "a link-local address (RFC 4291)"),
    ("ff00::/8", AddressKind.MULTICAST, "a multicast address (RFC 4291)"),
)

SPECIAL_NETWORKS: tuple[SpecialNetwork, ...] = tuple(
    sorted(
        (SpecialNetwork(ipaddress.ip_network(text), kind, what) for text, kind, what in _ROWS),
        key=lambda row: -row.network.prefixlen,
    )
)
"""The most specific first, so that the first that holds an address is the one that counts."""

_JUDGED_BY_IPV4: tuple[IPNetwork, ...] = (
    ipaddress.ip_network("64:ff9b::/96"),  # NAT64, RFC 6052: how networks without IPv4 reach registries without IPv6
    ipaddress.ip_network("2001::/32"),  # Teredo, RFC 4380
    ipaddress.ip_network("2002::/16"),  # 6to4, RFC 3056
)
"""Set apart, but no more closed than the IPv4 address inside."""

_LAST_32_BITS: tuple[IPNetwork, ...] = (
    ipaddress.ip_network("64:ff9b::/96"),  # RFC 6052
    ipaddress.ip_network("64:ff9b:1::/48"),  # RFC 8215; the usual /96 layout, for networks that are opened on purpose
    ipaddress.ip_network("::ffff:0:0:0/96"),  # IPv4-translated (RFC 2765)
)


def plain(ip: IPAddress) -> IPAddress:
    """The address itself: IPv4-mapped IPv6 is the IPv4 address that is dialled (RFC 4291 2.5.5.2), and a zone goes."""
    if isinstance(ip, IPv6Address):
        return ip.ipv4_mapped or IPv6Address(int(ip))
    return ip


@lru_cache(maxsize=1024)
def special(ip: IPAddress) -> SpecialNetwork | None:
    """The special network that a plain address is in, the smallest where several hold it.

    None for a global address, and for one that is judged by the IPv4 address inside alone.
    """
    if any(ip in network for network in _JUDGED_BY_IPV4):
        return None
    return next((row for row in SPECIAL_NETWORKS if ip in row.network), None)


def carried(ip: IPAddress) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that a plain IPv6 address leads to through NAT64, 6to4 or Teredo."""
    if isinstance(ip, IPv4Address):
        return ()
    if any(ip in network for network in _LAST_32_BITS):
        return (IPv4Address(int(ip) & 0xFFFFFFFF),)
    if ip.sixtofour:
        return (ip.sixtofour,)
    return ip.teredo or ()
