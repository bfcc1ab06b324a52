"""What is read of a machine's network: in a namespace with a router, and from the files of /proc as they are."""

from __future__ import annotations

import ipaddress
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from tests.net.namespace import in_namespace, ip, needs_namespace, until

from towline.core.network import WayOut
from towline.net import machine

ROUTES_4 = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
wlan0	00000000	{router}	0003	0	0	600	00000000	0	0	0
eth0	00000000	{other}	0003	0	0	100	00000000	0	0	0
wg0	00000000	00000000	0001	0	0	50	00000000	0	0	0
eth0	{network}	00000000	0001	0	0	100	00FFFFFF	0	0	0
"""
ROUTES_6 = (
    "{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00450003    eth0\n"
    "fe800000000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001    eth0\n"
    "{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n"
).format(zero="0" * 32)
ARP = """\
IP address       HW type     Flags       HW address            Mask     Device
192.0.2.1        0x1         0x2         02:00:00:00:00:01     *        wlan0
192.0.2.2        0x1         0x0         00:00:00:00:00:00     *        wlan0
"""


def test_default_routes_by_a_router() -> None:
    """The main table's default routes are found with their metrics; what has no router, or is none, is passed over."""
    addresses = {"router": "192.0.2.1", "other": "198.51.100.9", "network": "192.0.2.0"}
    text = ROUTES_4.format_map({name: as_number(address) for name, address in addresses.items()})
    assert list(machine._routes_4(text)) == [
        machine.DefaultRoute("wlan0", ipaddress.ip_address("192.0.2.1"), 600),
        machine.DefaultRoute("eth0", ipaddress.ip_address("198.51.100.9"), 100),
    ]
    assert list(machine._routes_6(ROUTES_6)) == [machine.DefaultRoute("eth0", ipaddress.ip_address("fe80::1"), 1024)]
    assert list(machine._routes_4("")) == list(machine._routes_6("")) == []


def as_number(address: str) -> str:
    """An address as the kernel prints it there: the number that its bytes are on this processor."""
    return f"{int.from_bytes(socket.inet_aton(address), sys.byteorder):08X}"


def test_the_router_of_an_interface() -> None:
    """The interface's own comes first; for one that has none, as a VPN, the machine's best by metric."""
    wlan, eth = (
        machine.DefaultRoute("wlan0", ipaddress.ip_address("192.0.2.1"), 600),
        machine.DefaultRoute("eth0", ipaddress.ip_address("198.51.100.9"), 100),
    )
    assert machine._router("wlan0", 4, [wlan, eth]) == wlan
    assert machine._router("wg0", 4, [wlan, eth]) == eth
    assert machine._router("wg0", 6, [wlan, eth]) is None


def test_hardware_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only an entry that is complete has one; a router that does not answer is waited for, but not for long."""
    assert machine._neighbour(ARP, ipaddress.ip_address("192.0.2.1")) == "02:00:00:00:00:01"
    assert machine._neighbour(ARP, ipaddress.ip_address("192.0.2.2")) == ""
    assert machine._neighbour("", ipaddress.ip_address("192.0.2.1")) == ""
    monkeypatch.setattr(machine, "ARP_WAIT", 0.1)
    monkeypatch.setattr(machine, "NEIGHBOURS", tmp_path / "arp")
    assert machine._hardware(ipaddress.ip_address("127.0.0.9")) == ""  # a platform without such a file
    machine.NEIGHBOURS.write_text(ARP)
    assert machine._hardware(ipaddress.ip_address("127.0.0.9")) == ""
    assert machine._hardware(ipaddress.ip_address("fe80::1")) == ""


def test_an_interface_that_vanishes_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no number and no carrier then, and nothing fails."""
    address = SimpleNamespace(family=socket.AF_INET, address="192.0.2.7")
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"gone0": [address]})
    monkeypatch.setattr(psutil, "net_if_stats", dict)
    (gone,) = machine.interfaces()
    assert (gone.up, gone.index, gone.addresses) == (False, 0, (ipaddress.ip_address("192.0.2.7"),))


def is_up(name: str) -> bool:
    """Whether the interface is seen with a carrier."""
    return any(interface.name == name and interface.up for interface in machine.interfaces())


@needs_namespace
def test_a_network_with_a_router(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interfaces, carrier, source address, router and its hardware address are those that the kernel has."""
    for name in ("ROUTES_4", "ROUTES_6", "NEIGHBOURS"):
        here = str(getattr(machine, name)).replace("/proc/net", "/proc/thread-self/net")
        monkeypatch.setattr(machine, name, Path(here))

    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc/thread-self")

    async def body() -> None:
        assert machine.read().ways_out == ()
        ip("link add wan0 address 02:00:00:00:00:07 type veth peer name router address 02:00:00:00:00:01")
        ip(
            "address add 10.7.0.7/24 dev wan0",
            "address add 10.7.0.8/32 dev wan0 label wan0:1",
            "link set wan0 up",
            "link set router up",
        )
        ip("route add default via 10.7.0.1")
        ip("neighbour add 10.7.0.1 lladdr 02:00:00:00:00:01 dev wan0 nud reachable")
        await until(lambda: is_up("wan0"))
        network = machine.read()
        wan = network.interface("wan0")
        assert wan is not None
        assert wan.index == socket.if_nametoindex("wan0")
        assert {ipaddress.ip_address("10.7.0.7"), ipaddress.ip_address("10.7.0.8")} <= network.addresses
        (way,) = network.ways_out
        gateway, mine = ipaddress.ip_address("10.7.0.1"), ipaddress.ip_address("10.7.0.7")
        assert way == WayOut("wan0", mine, gateway, "02:00:00:00:00:01")
        ip("link set router down")
        await until(lambda: not is_up("wan0"))

    in_namespace(body)
