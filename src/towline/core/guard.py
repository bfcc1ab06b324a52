"""May this target, at this address, be reached? What keeps a request from turning the proxy against its own network.

Two questions, asked at two times:

    check_target     before any dial: port, literal address, names that stand for this host, unlisted hosts
    check_address    for every resolved address, on the very address that is dialled next: a name that is checked and
                     then resolved again may have changed in between (DNS rebinding)

Refused by default is everything that is not a global unicast address (address.py says what is).
`policy.private_targets` opens parts of it:

    10.0.0.0/8, 10.0.0.5            these addresses, for any host; reserved blocks too, since they are named on purpose
    corp.example, *.corp.example    loopback and private addresses, for these hosts

Nothing opens metadata services, link-local, multicast and unspecified addresses, or Towline's own listeners.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from towline.core.address import SPECIAL_NETWORKS, AddressKind, SpecialNetwork, carried, plain, special
from towline.core.pattern import HostPattern, canonical_host
from towline.core.policy import TargetPolicy
from towline.types import UNLISTED, Address, Classification, IPAddress, IPNetwork, Target

_NEVER_OPENED = frozenset({AddressKind.METADATA, AddressKind.LINKLOCAL, AddressKind.MULTICAST, AddressKind.UNSPECIFIED})
_OPENED_FOR_HOSTS = frozenset({AddressKind.LOOPBACK, AddressKind.PRIVATE})

_LOOPBACK = ipaddress.ip_address("127.0.0.1")
_METADATA = ipaddress.ip_address("169.254.169.254")
_NAMES: dict[str, IPAddress] = {
    "localhost": _LOOPBACK,  # RFC 6761 6.3
    "metadata": _METADATA,  # Google Cloud, by search domain
    "metadata.google.internal": _METADATA,
    "metadata.goog": _METADATA,
    "instance-data": _METADATA,  # AWS, by search domain
    "instance-data.ec2.internal": _METADATA,
    "metadata.tencentyun.com": ipaddress.ip_address("169.254.0.23"),
}
"""Names judged by the address they are known for: a proxy that resolves names itself would follow them unseen."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a target may not be reached: `code` (`port`, `loop`, `unlisted`, `dest_*`) to count, `message` to read."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class PrivateTargets:
    """`policy.private_targets`, parsed."""

    networks: tuple[IPNetwork, ...]
    hosts: tuple[HostPattern, ...]


def parse_private_targets(entries: Iterable[str]) -> PrivateTargets:
    """Read networks, addresses and host patterns. Raises ValueError with a text that names the entry."""
    networks: list[IPNetwork] = []
    hosts: list[HostPattern] = []
    for entry in entries:
        network = _network(entry)
        if network is None:
            hosts.append(HostPattern.parse(entry))
        elif (closed := _closed(network)) is not None:
            raise ValueError(f"{entry!r} is {closed.what}: no policy opens it")
        else:
            networks.append(network)
    return PrivateTargets(tuple(networks), tuple(hosts))


def _network(entry: str) -> IPNetwork | None:
    """The network or address that an entry names, None for a host."""
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        if "/" in entry:
            raise ValueError(f"{entry!r} is not a network: write 10.0.0.0/8 or fd00::/8") from None
        return None
    if "/" in entry and ipaddress.ip_interface(entry).ip != network.network_address:
        raise ValueError(f"{entry!r} has bits beyond its prefix: write {network}")
    return network


def _closed(network: IPNetwork) -> SpecialNetwork | None:
    """The never-opened block that all of `network` lies in."""
    for row in SPECIAL_NETWORKS:
        inside = network.network_address in row.network and network.prefixlen >= row.network.prefixlen
        if row.kind in _NEVER_OPENED and inside:
            return row
    return None


class Guard:
    """The target policy, ready to answer. Immutable; a reload builds a new one."""

    def __init__(self, policy: TargetPolicy, own: frozenset[Address]) -> None:
        """`own` is every address (IP and port) that Towline listens on; a wildcard listener is every local address.

        Raises ValueError for a bad entry of `policy.private_targets`.
        """
        self._policy = policy
        self._private = parse_private_targets(policy.private_targets)
        self._own = frozenset((plain(ipaddress.ip_address(host)), port) for host, port in own)
        # A wildcard listener answers on all of 127.0.0.0/8, of which interfaces list one address.
        self._own_loopback_ports = frozenset(port for ip, port in self._own if ip.is_loopback)

    def check_target(self, target: Target, classification: Classification) -> Refusal | None:
        """Why `target` may not be asked for, None where it may (its addresses are still to be checked)."""
        host = canonical_host(target.host)
        stands_for = target.ip or (_LOOPBACK if host.endswith(".localhost") else _NAMES.get(host))
        if stands_for is not None and (refusal := self.check_address(target, stands_for)) is not None:
            return refusal
        if target.port not in self._policy.ports:
            ports = ", ".join(str(port) for port in sorted(self._policy.ports))
            return Refusal("port", f"port {target.port} is not among policy.ports ({ports})")
        if classification.registry == UNLISTED and self._policy.unlisted == "deny":
            return Refusal("unlisted", f"{host} belongs to no registry of the catalogue, and policy.unlisted is deny")
        return None

    def check_address(self, target: Target, ip: IPAddress) -> Refusal | None:
        """Why `ip`, which `target` resolved to, may not be dialled; None where it may."""
        address = plain(ip)
        for judged in (address, *carried(address)):
            if (refusal := self._refuse(target, address, judged)) is not None:
                return refusal
        return None

    def _refuse(self, target: Target, address: IPAddress, judged: IPAddress) -> Refusal | None:
        """Judge `address`, or the IPv4 address that it carries."""
        if (judged, target.port) in self._own or (judged.is_loopback and target.port in self._own_loopback_ports):
            return Refusal("loop", f"{target} is Towline itself: a request through it would go round in circles")
        row = special(judged)
        if row is None or self._opens(target, judged, row.kind):
            return None
        kind = row.kind if judged == address else AddressKind.EMBEDDED_V4
        return Refusal(kind.value, f"{_where(target, address, judged)} {row.what}{_advice(target, judged, row)}")

    def _opens(self, target: Target, ip: IPAddress, kind: AddressKind) -> bool:
        if kind in _NEVER_OPENED:
            return False
        if any(ip in network for network in self._private.networks):
            return True
        host = canonical_host(target.host)
        return kind in _OPENED_FOR_HOSTS and any(pattern.matches(host) for pattern in self._private.hosts)


def _where(target: Target, address: IPAddress, judged: IPAddress) -> str:
    """The head of the sentence that ends in what the judged address is."""
    if target.ip is not None:
        return f"{address} is" if judged == address else f"{address} carries {judged},"
    where = f"{target.host} is at {address},"
    return where if judged == address else f"{where} which carries {judged},"


def _advice(target: Target, judged: IPAddress, row: SpecialNetwork) -> str:
    if row.kind in _NEVER_OPENED:
        return ", which no policy opens"
    if target.ip is not None:
        entry = str(judged)
    elif row.kind in _OPENED_FOR_HOSTS:
        entry = target.host
    else:
        entry = str(row.network)
    return f"; if that is meant, list {entry} under policy.private_targets"
