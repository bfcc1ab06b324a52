from __future__ import annotations

import ipaddress
from types import SimpleNamespace

import psutil
import pytest
from structlog.testing import capture_logs

from towline.core.network import Interface
from towline.net import discover
from towline.net.discover import LeftOut, find
from towline.types import Address, RouteKind, RouteSpec, Secret

LO = Interface("lo", up=True, addresses=(ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")))
ETH = Interface("eth0", up=True, addresses=(ipaddress.ip_address("192.0.2.2"), ipaddress.ip_address("fd00::2")))
OWN: tuple[Address, ...] = (("127.0.0.1", 3128), ("::1", 3128))


def interface(name: str, *addresses: str, up: bool = True) -> Interface:
    """An interface with these addresses."""
    return Interface(name, up, tuple(ipaddress.ip_address(address) for address in addresses))


def offered(
    environ: dict[str, str], *interfaces: Interface, own: tuple[Address, ...] = OWN
) -> tuple[list[RouteSpec], list[LeftOut]]:
    """What is found on a machine with a loopback, an Ethernet and these interfaces."""
    routes, left_out = find((LO, ETH, *interfaces), environ, own=own, can_bind=True)
    return list(routes), list(left_out)


def test_a_plain_machine_offers_nothing() -> None:
    """Loopback and Ethernet are no routes of their own: `direct` uses them."""
    assert offered({}) == ([], [])


@pytest.mark.parametrize(
    ("name", "maker"),
    [
        ("wg0", "WireGuard"),
        ("wg-office", "WireGuard"),
        ("tun0", "TUN"),
        ("tap3", "TAP"),
        ("utun4", "TUN"),
        ("ppp0", "PPP"),
        ("ipsec0", "IPsec"),
        ("tailscale0", "Tailscale"),
        ("ztabcdefgh", "ZeroTier"),
        ("nordlynx", "NordVPN"),
        ("proton0", "Proton VPN"),
    ],
)
def test_vpn_interfaces_are_routes(name: str, maker: str) -> None:
    """An interface that a VPN makes is a route by the interface's name, which says where it comes from."""
    spec = RouteSpec(name, interface=name, origin=f"interface {name} ({maker})")

    assert offered({}, interface(name, "10.8.0.2")) == ([spec], [])


@pytest.mark.parametrize(
    "name", ["eth1", "wlan0", "docker0", "br-1234", "veth12ab", "tunl0", "tap-vm", "cni0", "flannel.1", "wl0", "virbr0"]
)
def test_other_interfaces_are_not(name: str) -> None:
    """Networks of containers and virtual machines, and further cards, are not taken for a VPN."""
    assert offered({}, interface(name, "10.8.0.2")) == ([], [])


@pytest.mark.parametrize(
    "down",
    [
        interface("wg0", "10.8.0.2", up=False),
        interface("wg0"),
        interface("utun0", "fe80::1"),
        interface("wg0", "169.254.3.4"),
    ],
)
def test_interfaces_that_are_down_or_without_address_are_not(down: Interface) -> None:
    """A VPN that is not connected is no route, and a link-local address leads nowhere."""
    assert offered({}, down) == ([], [])


def test_route_names_keep_to_their_letters() -> None:
    """Interface names have more letters than route names; the interface keeps its own."""
    routes, _ = offered({}, interface("Meta", "198.18.0.1"), interface("wg.Corp", "10.8.0.2"))

    assert [(route.name, route.interface) for route in routes] == [("meta", "Meta"), ("wg-corp", "wg.Corp")]


def test_interfaces_are_left_out_where_sockets_cannot_be_bound() -> None:
    """macOS has no SO_BINDTODEVICE: the interface is named with the reason, and no route."""
    assert find([interface("utun4", "10.8.0.2")], {}, own=OWN, can_bind=False) == (
        (),
        (LeftOut("utun4", "this system cannot bind a connection to an interface"),),
    )


@pytest.mark.parametrize(
    ("value", "kind", "proxy"),
    [
        ("http://proxy.corp.example:3128", RouteKind.HTTP, ("proxy.corp.example", 3128)),
        ("http://proxy.corp.example:3128/", RouteKind.HTTP, ("proxy.corp.example", 3128)),
        ("http://proxy.corp.example", RouteKind.HTTP, ("proxy.corp.example", 80)),
        ("https://proxy.corp.example", RouteKind.HTTPS, ("proxy.corp.example", 443)),
        ("proxy.corp.example:3128", RouteKind.HTTP, ("proxy.corp.example", 3128)),
        ("127.0.0.1:7890", RouteKind.HTTP, ("127.0.0.1", 7890)),
        ("HTTP://Proxy.Corp.Example:1", RouteKind.HTTP, ("proxy.corp.example", 1)),
        ("socks5://127.0.0.1:7890", RouteKind.SOCKS5H, ("127.0.0.1", 7890)),
        ("socks5h://127.0.0.1", RouteKind.SOCKS5H, ("127.0.0.1", 1080)),
        ("http://[fd00::7]:3128", RouteKind.HTTP, ("fd00::7", 3128)),
    ],
)
def test_a_proxy_variable_is_a_route(value: str, kind: RouteKind, proxy: Address) -> None:
    """The URL's scheme, host and port make the route; Go's defaults stand in for what is missing."""
    spec = RouteSpec("https_proxy", kind=kind, proxy=proxy, origin="HTTPS_PROXY in the environment")

    assert offered({"HTTPS_PROXY": value}) == ([spec], [])


@pytest.mark.parametrize(
    ("userinfo", "username", "password"),
    [
        ("ci:hunter2@", "ci", Secret("hunter2")),
        ("ci:p%40ss%3A@", "ci", Secret("p@ss:")),
        ("ci:a@b@", "ci", Secret("a@b")),
        ("ci@", "ci", None),
        ("ci:@", "ci", None),
        (":hunter2@", None, None),
    ],
)
def test_credentials_come_with_the_variable(userinfo: str, username: str | None, password: Secret | None) -> None:
    """User name and password of the URL are taken apart and decoded, and are not shown."""
    (route,), _ = offered({"https_proxy": f"http://{userinfo}proxy.corp.example:3128"})

    assert (route.proxy, route.username, route.password) == (("proxy.corp.example", 3128), username, password)
    assert "hunter2" not in repr(route)


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({"https_proxy": "a:1", "HTTPS_PROXY": "b:1"}, {"https_proxy": "a"}),
        ({"https_proxy": "", "HTTPS_PROXY": "b:1"}, {"https_proxy": "b"}),
        ({"all_proxy": "a:1", "ALL_PROXY": "b:1"}, {"all_proxy": "a"}),
        ({"http_proxy": "a:1"}, {"http_proxy": "a"}),
        ({"HTTP_PROXY": "a:1"}, {}),
        ({"no_proxy": "a:1", "FTP_PROXY": "b:1"}, {}),
        (
            {"http_proxy": "c:1", "ALL_PROXY": "b:1", "HTTPS_PROXY": "a:1"},
            {"https_proxy": "a", "all_proxy": "b", "http_proxy": "c"},
        ),
        ({"http_proxy": "http://a:1", "ALL_PROXY": "socks5://a:1", "https_proxy": "http://a:1"}, {"https_proxy": "a"}),
    ],
)
def test_variables_count_as_curl_has_them(environ: dict[str, str], found: dict[str, str]) -> None:
    """Lower case before capitals, an empty variable is none, HTTP_PROXY does not count, and one proxy is one route."""
    routes, _ = offered(environ)

    assert {route.name: route.proxy[0] for route in routes if route.proxy} == found


@pytest.mark.parametrize(
    "value",
    [
        "socks4://hunter2:1",
        "ftp://u:hunter2@p:1",
        "http://u:hunter2@",
        "http://u:hunter2@p:0",
        "http://u:hunter2@p:70000",
        "http://u:hunter2@[::1",
        "http://hunter2 x:1",
        "http://u:hunter2@p\u2100:1",
    ],
)
def test_a_variable_that_names_no_proxy_is_left_out(value: str) -> None:
    """What cannot be used is named by its variable, without the text, which may hold a password."""
    assert offered({"ALL_PROXY": value}) == (
        [],
        [LeftOut("ALL_PROXY", "not the URL of an HTTP, HTTPS or SOCKS5 proxy")],
    )


@pytest.mark.parametrize(
    "value", ["http://localhost:3128", "127.0.0.1:3128", "http://[::1]:3128", "http://192.0.2.2:3128", "[fd00::2]:3128"]
)
def test_a_variable_that_names_towline_is_left_out(value: str) -> None:
    """A machine whose proxy is Towline already must not make it dial itself, by whichever of its addresses."""
    assert offered({"HTTPS_PROXY": value}, own=(("0.0.0.0", 3128),)) == (
        [],
        [LeftOut("HTTPS_PROXY", "this is Towline itself")],
    )
    assert len(offered({"HTTPS_PROXY": value}, own=(("0.0.0.0", 3129),))[0]) == 1


def test_the_machine_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interfaces come from psutil, with link-layer addresses and zones taken away; what is left out is logged."""
    inet, inet6, packet = (SimpleNamespace(family=family) for family in (2, 10, 17))
    inet.address, inet6.address, packet.address = "10.8.0.2", "fe80::1%wg0", "02:00:00:00:00:01"
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"wg0": [inet, inet6, packet], "tun0": [inet]})
    monkeypatch.setattr(psutil, "net_if_stats", lambda: {"wg0": SimpleNamespace(isup=True)})

    with capture_logs() as lines:
        routes = discover.routes({"HTTPS_PROXY": "http://10.8.0.2:3128"}, own=OWN)

    assert [route.interface for route in routes] == ["wg0"]
    assert [(line["event"], line["what"]) for line in lines] == [("left_out", "HTTPS_PROXY")]


def test_this_machine_can_be_read() -> None:
    """On the machine that runs the tests every interface has well-formed addresses, and the loopback is no route."""
    assert all(route.interface != "lo" for route in discover.routes({}))


def test_a_machine_that_hides_its_interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sandbox without AF_NETLINK the proxies are still found."""

    def denied() -> None:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(psutil, "net_if_addrs", denied)

    with capture_logs() as lines:
        routes = discover.routes({"HTTPS_PROXY": "p:1"})

    assert [route.name for route in routes] == ["https_proxy"]
    assert lines[0]["what"] == "interfaces"
