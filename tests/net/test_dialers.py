"""What a configuration dials with: every kind of route, and where each one's names come from."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
import trustme
from tests.net.doh_server import DohServer
from tests.net.name_server import Server, Zone
from tests.net.peers import Peer, echo
from tests.net.proxies import SocksProxy
from tests.net.resolvers import TableResolver

from towline.dialers import Dialers
from towline.errors import DialError
from towline.types import IPAddress, NameServer, RouteKind, RouteSpec, Target

NAME = "registry.test"
pytestmark = pytest.mark.usefixtures("no_complaint", "nothing_left")


async def all_of_them(_route: str, _host: str, _port: int, addresses: Sequence[IPAddress]) -> Sequence[IPAddress]:
    """No address is poisoned."""
    return addresses


def dialers(*routes: RouteSpec, names: dict[str, list[str]] | None = None) -> Dialers:
    """Dialers for these routes; `names` is what the system resolves, and loopback is where everything is."""
    return Dialers(
        routes,
        system=TableResolver(names or {}),
        sound=all_of_them,
        admit=lambda *_: None,
        slots=asyncio.Semaphore(8),
    )


async def dial(made: Dialers, route: str, port: int) -> str:
    """The peer reached over a route."""
    dialed = await made.by_route[route].dial(Target(NAME, port), deadline=asyncio.get_running_loop().time() + 10)
    dialed.close()
    return dialed.peer


async def test_every_route_that_may_be_used_has_a_dialer() -> None:
    """A disabled one has none."""
    kinds = [RouteSpec(kind.value, kind, proxy=("127.0.0.1", 9)) for kind in RouteKind]
    made = dialers(*kinds, RouteSpec("off", disabled=True))
    assert list(made.by_route) == [kind.value for kind in RouteKind]


async def test_a_route_asks_its_own_server_and_no_other() -> None:
    """The system knows another address, or none, and is not asked."""
    async with Server({NAME: Zone(A=["127.0.0.1"])}) as server, Peer(echo) as target:
        own = RouteSpec("vpn", dns=NameServer("udp", ("127.0.0.1", server.port)))
        made = dialers(own, RouteSpec("direct"), names={NAME: ["127.0.0.2"]})
        assert await dial(made, "vpn", target.port) == f"127.0.0.1:{target.port}"
        with pytest.raises(DialError):
            await dial(made, "direct", target.port)
        made.close()


async def test_a_change_of_network_forgets_answers() -> None:
    """Until then one question serves."""
    async with Server({NAME: Zone(A=["127.0.0.1"])}) as server, Peer(echo) as target:
        made = dialers(RouteSpec("vpn", dns=NameServer("udp", ("127.0.0.1", server.port))))
        for _ in range(2):
            await dial(made, "vpn", target.port)
        assert len(server.asked) == 2
        made.forget()
        await dial(made, "vpn", target.port)
        assert len(server.asked) == 4


async def test_a_socks5_proxy_is_found_by_the_system() -> None:
    """The name of the proxy is not asked of a server behind it; the target's is, and by its address it is asked for."""
    proxy = SocksProxy()
    async with Server({NAME: Zone(A=["127.0.0.1"])}) as server, Peer(echo) as target, Peer(proxy) as peer:
        # Over UDP here, which the configuration forbids for a proxy: how the question is asked is not the point.
        spec = RouteSpec(
            "clash",
            RouteKind.SOCKS5,
            proxy=("proxy.test", peer.port),
            dns=NameServer("udp", ("127.0.0.1", server.port)),
        )
        made = dialers(spec, names={"proxy.test": ["127.0.0.1"]})
        await dial(made, "clash", target.port)
        assert {host for host, *_ in server.asked} == {NAME}
        assert proxy.asked == [("127.0.0.1", target.port)]
        made.close()


async def test_a_server_over_https_is_asked_through_the_proxy(authority: trustme.CA, system_roots: Path) -> None:
    """A socks5 route has its names from a server that is reached over the very proxy."""
    proxy = SocksProxy()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with DohServer({NAME: Zone(A=["127.0.0.1"])}, context) as server, Peer(echo) as target, Peer(proxy) as peer:
        dns = NameServer("https", ("127.0.0.1", server.port), "/dns-query")
        made = dialers(RouteSpec("clash", RouteKind.SOCKS5, proxy=peer.address, dns=dns))
        await dial(made, "clash", target.port)
        assert {port for _, port in proxy.asked} == {server.port, target.port}
        made.close()
