"""What this machine's network is like, what has changed between two looks at it, and what that means for the routes.

    Network                    interfaces with their addresses, and how packets leave by default
    compare(before, after)     what came, what went, and whether packets leave another way now
    Difference.concerns(spec)  may this route lead elsewhere than it did?
    identity(network)          what tells this network from others, in words that are not for showing (memory.py)

Most changes mean nothing: every container that starts makes an interface. One that has no address of its own, or a
link-local one alone, carries none of our connections and is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from towline.types import IPAddress, RouteSpec


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface as the operating system reports it."""

    name: str
    up: bool
    """It is switched on and has a carrier."""
    addresses: tuple[IPAddress, ...]
    index: int = 0
    """The kernel's number of it: one that was removed and made anew has another, and sockets bound to it are dead."""

    @property
    def carries(self) -> bool:
        """Whether connections can be made from it: it is up and has an address that is valid beyond its link."""
        return self.up and any(not ip.is_link_local for ip in self.addresses)


@dataclass(frozen=True, slots=True)
class WayOut:
    """How packets to the Internet leave this machine where nothing else is said."""

    interface: str
    source: IPAddress
    """The address that they leave from."""
    gateway: IPAddress | None = None
    """The router; behind a VPN that takes everything, the one that the machine itself has."""
    hardware: str = ""
    """Its hardware address; "" where that is not known (yet)."""

    def describe(self) -> str:
        """`wlan0, gateway 192.0.2.1`."""
        return self.interface if self.gateway is None else f"{self.interface}, gateway {self.gateway}"

    def is_same(self, other: WayOut) -> bool:
        """Whether packets go the same way; a hardware address that is not known is no difference."""
        unknown = not (self.hardware and other.hardware)
        mine, theirs = (self.interface, self.source, self.gateway), (other.interface, other.source, other.gateway)
        return mine == theirs and (unknown or self.hardware == other.hardware)


@dataclass(frozen=True, slots=True)
class Network:
    """The machine's network at one moment."""

    interfaces: tuple[Interface, ...] = ()
    ways_out: tuple[WayOut, ...] = ()
    """At most one for IPv4 and one for IPv6, in this order."""

    def interface(self, name: str) -> Interface | None:
        """The interface of this name."""
        return next((interface for interface in self.interfaces if interface.name == name), None)

    @property
    def addresses(self) -> frozenset[IPAddress]:
        """The addresses of the interfaces that are up."""
        return frozenset(ip for interface in self.interfaces if interface.up for ip in interface.addresses)

    @property
    def indexes(self) -> frozenset[int]:
        """The numbers of the interfaces that are up."""
        return frozenset(interface.index for interface in self.interfaces if interface.up)

    def absence(self, interface: str) -> str | None:
        """Why nothing leaves by this interface now; None where it may."""
        found = self.interface(interface)
        if found is None:
            return f"interface {interface} is gone"
        return None if found.up else f"interface {interface} is down"


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two looks. False where nothing does that matters."""

    gone: tuple[str, ...] = ()
    """Interfaces that were up and are down or removed, or were made anew."""
    come: tuple[str, ...] = ()
    """Interfaces that are up and were not, or were made anew."""
    moved: tuple[str, ...] = ()
    """Interfaces that are up as before, with other addresses."""
    addresses: frozenset[IPAddress] = frozenset()
    """Addresses that came or went."""
    elsewhere: tuple[str, ...] = ()
    """How packets leave by default now where that is another way than before, in words."""

    def __bool__(self) -> bool:
        return bool(self.gone or self.come or self.moved or self.elsewhere)

    def concerns(self, spec: RouteSpec) -> bool:
        """Whether this route may lead elsewhere than before, so that what was found about it lately may not hold.

        A mark may have any way chosen, which nothing here can tell; it is taken to follow the default one.
        """
        if spec.interface is not None and spec.interface in (*self.gone, *self.come, *self.moved):
            return True
        if spec.source is not None and spec.source in self.addresses:
            return True
        return spec.interface is None and spec.source is None and bool(self.elsewhere)

    def words(self) -> list[str]:
        """What happened, a phrase each."""
        anew = set(self.gone) & set(self.come)
        return [
            *(f"{name} is gone" for name in self.gone if name not in anew),
            *(f"{name} is up" for name in self.come if name not in anew),
            *(f"{name} was made anew" for name in self.gone if name in anew),
            *(f"{name} has other addresses" for name in self.moved),
            *self.elsewhere,
        ]


def compare(before: Network, after: Network) -> Difference:
    """What `after` changes."""
    old = {interface.name: interface for interface in before.interfaces if interface.carries}
    new = {interface.name: interface for interface in after.interfaces if interface.carries}
    anew = {name for name in old.keys() & new.keys() if old[name].index != new[name].index}
    kept = [name for name in new if name in old and name not in anew]
    return Difference(
        gone=tuple(name for name in old if name not in new or name in anew),
        come=tuple(name for name in new if name not in old or name in anew),
        moved=tuple(name for name in kept if set(old[name].addresses) != set(new[name].addresses)),
        addresses=before.addresses ^ after.addresses,
        elsewhere=tuple(_elsewhere(before, after)),
    )


def _elsewhere(before: Network, after: Network) -> Iterator[str]:
    for version in (4, 6):
        old, new = _way_out(before, version), _way_out(after, version)
        if new is None:
            if old is not None:
                yield f"IPv{version} has no way out any more"
        elif old is None:
            yield f"IPv{version} leaves by {new.describe()}"
        elif not new.is_same(old):
            change = f"from {new.source}, not {old.source}" if new.describe() == old.describe() else "another way"
            yield f"IPv{version} leaves {change}: by {new.describe()}"


def _way_out(network: Network, version: int) -> WayOut | None:
    return next((way for way in network.ways_out if way.source.version == version), None)


def identity(network: Network) -> str | None:
    """What tells the network that packets leave into from every other; None where they cannot leave.

    The router's hardware address does: 192.168.1.1 is at home in a million places. Our own address is another every
    time; it serves only where no router is known.
    """
    if not network.ways_out:
        return None
    way = network.ways_out[0]
    return f"{way.interface} {way.gateway or way.source} {way.hardware}"
