"""The direct dialer where it differs from the others: several addresses of one name."""

from __future__ import annotations

import asyncio

from tests.net.peers import Peer, echo
from tests.net.resolvers import TableResolver

from towline.net.direct import DirectDialer
from towline.types import RouteSpec, Target


async def test_falls_back_from_an_address_family_that_is_dead() -> None:
    """A name whose IPv6 address refuses is reached over IPv4, and the peer is the address reached."""
    resolver = TableResolver({"registry.test": ["::1", "127.0.0.1"]})
    dialer = DirectDialer(RouteSpec("direct"), resolver=resolver, admit=lambda *_: None)
    async with Peer(echo) as peer:  # on IPv4 alone
        deadline = asyncio.get_running_loop().time() + 10
        dialed = await dialer.dial(Target("registry.test", peer.port), deadline=deadline)
        dialed.close()
        assert dialed.peer == f"127.0.0.1:{peer.port}"


async def test_names_an_ipv6_peer_in_brackets() -> None:
    """The peer of a connection over IPv6 is written as an authority."""
    dialer = DirectDialer(RouteSpec("direct"), resolver=TableResolver({}), admit=lambda *_: None)
    async with Peer(echo, host="::1") as peer:
        dialed = await dialer.dial(Target("::1", peer.port), deadline=asyncio.get_running_loop().time() + 10)
        dialed.close()
        assert dialed.peer == f"[::1]:{peer.port}"
