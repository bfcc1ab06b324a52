"""Reads what this machine's network is like now (core/network.py), in about a millisecond.

    interfaces()    names, numbers, carriers and addresses                       psutil
    read()          the same, and how packets leave by default                   connect(2), Linux: /proc/net

How they leave is asked of the kernel by connecting a datagram socket, which sends nothing: its own address is then the
one that packets would leave from. Default routes would not tell: wg-quick leaves them be and rules over them, OpenVPN
lays 0.0.0.0/1 and 128.0.0.0/1 over them. They serve to find the router, which tells one network from another.

Where it sees no interfaces, in a sandbox without AF_NETLINK, nothing can be judged by them, and OSError is raised.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from towline.core.network import Interface, Network, WayOut
from towline.types import IPAddress

BEYOND = ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses that belong to nobody (RFC 5737, RFC 3849), so that they are reached by the default way alone."""
DISCARD = 9  # the port of a service that drops what it gets (RFC 863)
ARP_WAIT = 1.0  # seconds for a router to answer; it takes a round trip on the link
ARP_POLL = 0.05  # seconds between two looks at whether it has

ROUTES_4 = Path("/proc/net/route")
ROUTES_6 = Path("/proc/net/ipv6_route")
NEIGHBOURS = Path("/proc/net/arp")
_GATEWAY = 0x2  # RTF_GATEWAY in linux/route.h
_COMPLETE = 0x2  # ATF_COM in linux/if_arp.h


class DefaultRoute(NamedTuple):
    """A default route of the main table that goes by a router."""

    interface: str
    gateway: IPAddress
    metric: int


def read() -> Network:
    """The network as it is now. Waits for up to ARP_WAIT where a router is new. Raises OSError."""
    found = interfaces()
    routes = [*_routes_4(_text(ROUTES_4)), *_routes_6(_text(ROUTES_6))]
    return Network(found, tuple(_ways_out(found, routes)))


def interfaces() -> tuple[Interface, ...]:
    """Every interface of this machine, its addresses without their zone. Raises OSError."""
    stats = psutil.net_if_stats()
    addresses: dict[str, list[IPAddress]] = {}
    for label, entries in psutil.net_if_addrs().items():
        name = label.partition(":")[0]  # ip(8) may label an address of eth0 `eth0:1`
        addresses.setdefault(name, []).extend(
            ipaddress.ip_address(entry.address.partition("%")[0])
            for entry in entries
            if entry.family in {socket.AF_INET, socket.AF_INET6}
        )
    return tuple(
        Interface(name, up=name in stats and stats[name].isup, addresses=tuple(found), index=_index(name))
        for name, found in addresses.items()
    )


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:  # it has gone since
        return 0


def _ways_out(found: Iterable[Interface], routes: Iterable[DefaultRoute]) -> Iterator[WayOut]:
    owners = {ip: interface.name for interface in found for ip in interface.addresses}
    for family, address in BEYOND:
        source = _source(family, address)
        if source is None or source not in owners:
            continue
        router = _router(owners[source], source.version, routes)
        if router is None:
            yield WayOut(owners[source], source)
        else:
            yield WayOut(owners[source], source, router.gateway, _hardware(router.gateway))


def _source(family: socket.AddressFamily, beyond: str) -> IPAddress | None:
    """The address that packets leave from; None where they cannot."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((beyond, DISCARD))
            return ipaddress.ip_address(sock.getsockname()[0].partition("%")[0])
    except OSError:
        return None


def _router(interface: str, version: int, routes: Iterable[DefaultRoute]) -> DefaultRoute | None:
    """The router that packets by this interface go to, else the one that the machine would use without a VPN."""
    candidates = [route for route in routes if route.gateway.version == version]
    return min(candidates, key=lambda route: (route.interface != interface, route.metric), default=None)


def _routes_4(text: str) -> Iterator[DefaultRoute]:
    """The default routes of /proc/net/route: addresses are hexadecimal, in the byte order of the processor."""
    for line in text.splitlines()[1:]:
        interface, destination, gateway, flags, _, _, metric, mask, *_ = line.split()
        if int(flags, 16) & _GATEWAY and int(destination, 16) == int(mask, 16) == 0:
            yield DefaultRoute(interface, ipaddress.IPv4Address(struct.pack("=I", int(gateway, 16))), int(metric))


def _routes_6(text: str) -> Iterator[DefaultRoute]:
    """The default routes of /proc/net/ipv6_route: addresses are 32 hexadecimal digits."""
    for line in text.splitlines():
        destination, length, _, _, gateway, metric, _, _, flags, interface = line.split()
        if int(flags, 16) & _GATEWAY and int(destination, 16) == int(length, 16) == 0:
            yield DefaultRoute(interface, ipaddress.IPv6Address(bytes.fromhex(gateway)), int(metric, 16))


def _hardware(gateway: IPAddress) -> str:
    """The hardware address of a router, "" where it cannot be found out. /proc shows those of IPv4 alone.

    A router that this machine has not spoken to yet is sent an empty datagram: before it, the kernel asks for that
    address.
    """
    if gateway.version == 6 or not NEIGHBOURS.exists():
        return ""
    if known := _neighbour(_text(NEIGHBOURS), gateway):
        return known
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((str(gateway), DISCARD))
        sock.send(b"")
    deadline = time.monotonic() + ARP_WAIT
    while not (known := _neighbour(_text(NEIGHBOURS), gateway)) and time.monotonic() < deadline:
        time.sleep(ARP_POLL)
    return known


def _neighbour(text: str, ip: IPAddress) -> str:
    for line in text.splitlines()[1:]:
        address, _, flags, hardware, *_ = line.split()
        if address == str(ip) and int(flags, 16) & _COMPLETE:
            return hardware
    return ""


def _text(path: Path) -> str:
    """A file of /proc, "" where the platform has none or this sandbox hides it."""
    try:
        return path.read_text()
    except OSError:
        return ""
