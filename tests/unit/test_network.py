"""What a machine's network is, and what a change of it means for its routes."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from towline.core.network import Difference, Interface, Network, WayOut, compare, identity
from towline.types import RouteKind, RouteSpec

GATEWAY = ipaddress.ip_address("192.0.2.1")
MINE = ipaddress.ip_address("192.0.2.7")
MINE_6 = ipaddress.ip_address("2001:db8:1::7")
LO = Interface("lo", up=True, addresses=(ipaddress.ip_address("127.0.0.1"),), index=1)
ETH = Interface("eth0", up=True, addresses=(MINE, ipaddress.ip_address("fe80::7")), index=2)
WG = Interface("wg0", up=True, addresses=(ipaddress.ip_address("10.8.0.2"),), index=3)
WAY = WayOut("eth0", MINE, GATEWAY, "02:00:00:00:00:01")
WAY_6 = WayOut("eth0", MINE_6, ipaddress.ip_address("fe80::1"))
HOME = Network((LO, ETH, WG), (WAY,))

DIRECT = RouteSpec("direct")
VPN = RouteSpec("vpn", interface="wg0")
LEASED = RouteSpec("leased", source=MINE)
OFFICE = RouteSpec("office", kind=RouteKind.HTTP, proxy=("proxy.corp.test", 3128))
OFFICE_BY_VPN = replace(OFFICE, interface="wg0")


def test_nothing_differs() -> None:
    """Two looks at the same network differ in nothing."""
    difference = compare(HOME, HOME)
    assert not difference
    assert difference.words() == []


def test_containers_are_passed_over() -> None:
    """An interface with a link-local address alone makes no difference when it comes, goes or loses its carrier."""
    veth = Interface("veth1", up=True, addresses=(ipaddress.ip_address("fe80::9"),), index=9)
    with_veth = replace(HOME, interfaces=(*HOME.interfaces, veth))
    down = replace(HOME, interfaces=(*HOME.interfaces, replace(veth, up=False)))
    assert not compare(HOME, with_veth)
    assert not compare(with_veth, down)
    assert not compare(down, HOME)


@pytest.mark.parametrize("without", [(LO, ETH), (LO, ETH, replace(WG, up=False)), (LO, ETH, replace(WG, addresses=()))])
def test_an_interface_goes_and_comes(without: tuple[Interface, ...]) -> None:
    """Removed, switched off or without address: what leaves by it is concerned, what does not is left alone."""
    gone = replace(HOME, interfaces=without)
    went, came = compare(HOME, gone), compare(gone, HOME)
    assert (went.gone, went.come, came.gone, came.come) == (("wg0",), (), (), ("wg0",))
    assert (went.words(), came.words()) == (["wg0 is gone"], ["wg0 is up"])
    for difference in (went, came):
        assert [difference.concerns(spec) for spec in (VPN, OFFICE_BY_VPN)] == [True, True]
        assert [difference.concerns(spec) for spec in (DIRECT, OFFICE, LEASED)] == [False, False, False]


def test_an_interface_that_was_made_anew() -> None:
    """The same name with another number is another interface: what was bound to the old one is dead."""
    anew = compare(HOME, replace(HOME, interfaces=(LO, ETH, replace(WG, index=30))))
    assert (anew.gone, anew.come) == (("wg0",), ("wg0",))
    assert anew.words() == ["wg0 was made anew"]
    assert anew.concerns(VPN)


def test_an_address_changes() -> None:
    """Another address on an interface that stays concerns what leaves by it, and what leaves from the address."""
    other = ipaddress.ip_address("192.0.2.8")
    moved = Network((LO, replace(ETH, addresses=(other,)), WG), (replace(WAY, source=other),))
    difference = compare(HOME, moved)
    assert difference.moved == ("eth0",)
    assert difference.addresses == {MINE, ipaddress.ip_address("fe80::7"), other}
    assert difference.words() == [
        "eth0 has other addresses",
        "IPv4 leaves from 192.0.2.8, not 192.0.2.7: by eth0, gateway 192.0.2.1",
    ]
    assert [difference.concerns(spec) for spec in (DIRECT, OFFICE, LEASED, VPN)] == [True, True, True, False]


def test_packets_leave_elsewhere() -> None:
    """Another interface or router, a way where there was none, or none any more: direct and proxies are concerned."""
    over = replace(HOME, ways_out=(WayOut("wg0", WG.addresses[0], GATEWAY, WAY.hardware),))
    cases = {
        "IPv4 leaves another way: by wg0, gateway 192.0.2.1": compare(HOME, over),
        "IPv4 has no way out any more": compare(HOME, replace(HOME, ways_out=())),
        "IPv4 leaves by eth0, gateway 192.0.2.1": compare(replace(HOME, ways_out=()), HOME),
        "IPv6 leaves by eth0, gateway fe80::1": compare(HOME, replace(HOME, ways_out=(WAY, WAY_6))),
    }
    for words, difference in cases.items():
        assert difference.words() == [words]
        assert [difference.concerns(spec) for spec in (DIRECT, OFFICE, LEASED, VPN)] == [True, True, False, False]


def test_another_router_of_the_same_address() -> None:
    """192.168.1.1 is everywhere: its hardware address tells. One that is not known yet makes no difference."""
    cafe = replace(HOME, ways_out=(replace(WAY, hardware="02:00:00:00:00:99"),))
    unknown = replace(HOME, ways_out=(replace(WAY, hardware=""),))
    assert compare(HOME, cafe).elsewhere
    assert not compare(HOME, unknown)
    assert not compare(unknown, cafe)


def test_absent_interfaces() -> None:
    """One that is not there or is down says so."""
    down = replace(HOME, interfaces=(LO, replace(WG, up=False)))
    assert HOME.absence("wg0") is None
    assert Network((LO,)).absence("wg0") == "interface wg0 is gone"
    assert down.absence("wg0") == "interface wg0 is down"


def test_what_is_up() -> None:
    """Addresses and numbers are those of the interfaces that are up."""
    network = Network((LO, replace(WG, up=False)))
    assert network.addresses == set(LO.addresses)
    assert network.indexes == {1}


def test_identity() -> None:
    """A network is its router, whatever address it gave us; without a router our own address is all there is."""
    elsewhere = replace(HOME, ways_out=(replace(WAY, hardware="02:00:00:00:00:99"),))
    renewed = replace(HOME, ways_out=(replace(WAY, source=ipaddress.ip_address("192.0.2.8")),))
    tunnelled = replace(HOME, ways_out=(WayOut("wg0", WG.addresses[0]),))
    assert identity(HOME) == identity(renewed)
    assert len({identity(HOME), identity(elsewhere), identity(tunnelled)}) == 3
    assert identity(Network()) is None


def test_no_difference_is_false() -> None:
    """An address alone that came to an interface which carries nothing is no difference."""
    assert not Difference(addresses=frozenset({MINE}))
