"""What this machine offers as routes: VPN-like interfaces that are up, and the proxies that the environment names.

    routes(environ, own=...)        reads the machine, and logs what it had to leave out
    find(interfaces, environ, ...)  the decision, which reads nothing

Discovery serves where the configuration has no `routes`; whatever it finds is a candidate only, and health decides.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import structlog

from towline.core.network import Interface
from towline.net import machine
from towline.types import Address, RouteKind, RouteSpec, Secret, Target

log = structlog.get_logger("towline.net.discover")

CAN_BIND = hasattr(socket, "SO_BINDTODEVICE")  # macOS has none

VPN_INTERFACES: tuple[tuple[str, str], ...] = (
    ("wg*", "WireGuard"),  # wg-quick(8): the file's name, by custom wg0, wg-office
    ("tun[0-9]*", "TUN"),  # Linux tuntap.rst; OpenVPN and sing-box. Not tunl0, the IPIP device of Calico
    ("tap[0-9]*", "TAP"),  # likewise
    ("utun[0-9]*", "TUN"),  # macOS, net/if_utun.h
    ("ppp[0-9]*", "PPP"),  # pppd: L2TP, PPTP, SSTP
    ("ipsec[0-9]*", "IPsec"),  # strongSwan and Libreswan
    ("tailscale[0-9]*", "Tailscale"),
    ("zt*", "ZeroTier"),  # zt and a hash of the network's id
    ("nordlynx", "NordVPN"),
    ("proton[0-9]*", "Proton VPN"),
    ("Meta", "mihomo"),  # listener/sing_tun/server.go: InterfaceName
)
"""Interface names (shell patterns) that a VPN is likely to be behind, and what makes them."""

PROXY_VARIABLES: tuple[tuple[str, ...], ...] = (
    ("https_proxy", "HTTPS_PROXY"),
    ("all_proxy", "ALL_PROXY"),
    ("http_proxy",),
)
"""The variables in curl's order (lib/url.c, detect_proxy): lower case first, an empty one is none, and HTTP_PROXY in
capitals is left alone, since a CGI server sets it from a request's header."""

_KINDS = {
    "http": (RouteKind.HTTP, 80),
    "https": (RouteKind.HTTPS, 443),
    # Go, and with it Docker, has the proxy resolve names for both spellings (net/http, Transport.Proxy).
    "socks5": (RouteKind.SOCKS5H, 1080),
    "socks5h": (RouteKind.SOCKS5H, 1080),
}
"""Kind and default port by scheme. The ports are those of Go's net/http; curl takes 1080 for all of them."""


class LeftOut(NamedTuple):
    """What would have been a route, and why it is none: `("HTTPS_PROXY", "this is Towline itself")`."""

    what: str
    why: str


type Offer = RouteSpec | LeftOut


def routes(environ: Mapping[str, str], *, own: Sequence[Address] = ()) -> tuple[RouteSpec, ...]:
    """The routes that this machine offers now, interfaces before proxies.

    `own` are the addresses that Towline listens on: a proxy variable that names one of them leads back to it.
    """
    try:
        interfaces = machine.interfaces()
    except OSError as error:  # a sandbox without AF_NETLINK
        log.warning("left_out", what="interfaces", why=f"they cannot be listed: {error.strerror}")
        interfaces = ()
    found, left_out = find(interfaces, environ, own=own, can_bind=CAN_BIND)
    for what, why in left_out:
        log.info("left_out", what=what, why=why)
    return found


def find(
    interfaces: Sequence[Interface], environ: Mapping[str, str], *, own: Sequence[Address], can_bind: bool
) -> tuple[tuple[RouteSpec, ...], tuple[LeftOut, ...]]:
    """The routes that these interfaces and this environment make, and what is left out.

    `can_bind`: this system can bind a socket to an interface (SO_BINDTODEVICE; macOS has none).
    """
    specs: list[RouteSpec] = []
    left_out: list[LeftOut] = []
    for offer in (*_interface_offers(interfaces, can_bind=can_bind), *_proxy_offers(interfaces, environ, own)):
        if isinstance(offer, LeftOut):
            left_out.append(offer)
        elif not any(_same(offer, spec) for spec in specs):
            specs.append(offer)
    return tuple(specs), tuple(left_out)


def _same(one: RouteSpec, other: RouteSpec) -> bool:
    """One proxy is one route, whichever variables name it, by whichever of its protocols."""
    return one.name == other.name or (one.proxy is not None and one.proxy == other.proxy)


def _interface_offers(interfaces: Iterable[Interface], *, can_bind: bool) -> Iterator[Offer]:
    """Interfaces that look like a VPN, are up and have an address.

    A link-local address is none: macOS keeps several utun interfaces that have no other.
    """
    for interface in interfaces:
        maker = next((maker for pattern, maker in VPN_INTERFACES if fnmatchcase(interface.name, pattern)), None)
        if maker is None or not interface.up or all(ip.is_link_local for ip in interface.addresses):
            continue
        if can_bind:
            origin = f"interface {interface.name} ({maker})"
            yield RouteSpec(_route_name(interface.name), interface=interface.name, origin=origin)
        else:
            yield LeftOut(interface.name, "this system cannot bind a connection to an interface")


def _proxy_offers(
    interfaces: Iterable[Interface], environ: Mapping[str, str], own: Sequence[Address]
) -> Iterator[Offer]:
    """The proxies that the environment names: of each group of variables the first that is not empty."""
    local = {"localhost", "127.0.0.1", "::1", *(str(ip) for interface in interfaces for ip in interface.addresses)}
    ours = {(host, port) for host in local for _, port in own}
    for group in PROXY_VARIABLES:
        variable = next((variable for variable in group if environ.get(variable)), None)
        if variable is None:
            continue
        try:
            spec = _proxy_route(variable, environ[variable])
        except ValueError:
            # The exception's text is not for the log: urlsplit repeats the URL, and with it the password.
            yield LeftOut(variable, "not the URL of an HTTP, HTTPS or SOCKS5 proxy")
            continue
        yield LeftOut(variable, "this is Towline itself") if spec.proxy in ours else spec


def _route_name(interface: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "-", interface.lower())


def _proxy_route(variable: str, value: str) -> RouteSpec:
    """The route over the proxy that a variable names; without a scheme it is HTTP. Raises ValueError."""
    url = urlsplit(value if "://" in value else f"http://{value}")
    kind, port = _KINDS.get(url.scheme, (None, 0))
    if kind is None:
        raise ValueError(url.scheme)
    target = Target.parse(url.netloc.rpartition("@")[2], port)
    username, password = unquote(url.username or ""), unquote(url.password or "")
    return RouteSpec(
        name=variable.lower(),
        kind=kind,
        proxy=(target.host, target.port),
        username=username or None,
        password=Secret(password) if username and password else None,
        origin=f"{variable} in the environment",
    )
