"""The SOCKS dialer where it differs from the others: addresses resolved here, one after the other."""

from __future__ import annotations

import asyncio

import pytest
from tests.net.peers import Peer, closed_port, echo, says
from tests.net.proxies import Fault, SocksProxy
from tests.net.resolvers import TableResolver

from towline.errors import ConfigError, DialError
from towline.net.socks import MAX_ADDRESSES, SocksDialer
from towline.types import OutcomeKind, RouteKind, RouteSpec, Secret, Target


def dialer_over(peer: Peer, addresses: list[str], kind: RouteKind = RouteKind.SOCKS5) -> SocksDialer:
    """A dialer over the proxy at `peer`; the target's name has these addresses."""
    spec = RouteSpec("clash", kind, proxy=peer.address)
    return SocksDialer(spec, resolver=TableResolver({"registry.test": addresses}), admit=lambda *_: None)


def soon() -> float:
    """A deadline on the loop's clock."""
    return asyncio.get_running_loop().time() + 10


async def test_asks_for_the_next_address_after_a_refusal() -> None:
    """A name with a dead address is reached by its next one, over a new connection to the proxy."""
    proxy = SocksProxy()
    async with Peer(proxy) as peer, Peer(echo) as target:  # the target is on IPv4 alone
        dialer = dialer_over(peer, ["::1", "127.0.0.1"])
        dialed = await dialer.dial(Target("registry.test", target.port), deadline=soon())
        dialed.close()
        assert [host for host, _ in proxy.asked] == ["::1", "127.0.0.1"]
        assert len(peer.clients) == 2


async def test_gives_up_after_a_few_addresses() -> None:
    """Only so many addresses are asked for, and the last answer is the outcome."""
    proxy = SocksProxy()
    async with Peer(proxy) as peer:
        dialer = dialer_over(peer, [f"127.0.0.{last}" for last in range(1, 9)])
        with pytest.raises(DialError, match="refused by target"):
            await dialer.dial(Target("registry.test", closed_port()), deadline=soon())
    assert len(proxy.asked) == MAX_ADDRESSES


async def test_does_not_try_again_what_is_not_about_the_address() -> None:
    """A proxy that answers nonsense would do so for the next address too."""
    async with Peer(SocksProxy(fault=Fault("method", says(b"HTTP/1.1 400\r\n\r\n")))) as peer:
        dialer = dialer_over(peer, ["127.0.0.1", "127.0.0.2"])
        with pytest.raises(DialError) as caught:
            await dialer.dial(Target("registry.test", 443), deadline=soon())
        assert len(peer.clients) == 1
    assert caught.value.kind is OutcomeKind.PROXY_PROTOCOL


async def test_offers_no_credentials_where_the_route_has_none() -> None:
    """A proxy that wants a password from a route without one is an authentication failure."""
    async with Peer(SocksProxy(credentials=("ci", "geheim"))) as peer:
        with pytest.raises(DialError, match="asks for a user name") as caught:
            await dialer_over(peer, [], RouteKind.SOCKS5H).dial(Target("registry.test", 443), deadline=soon())
    assert caught.value.kind is OutcomeKind.PROXY_AUTH


def test_credentials_that_socks_cannot_carry_are_an_error_of_configuration() -> None:
    """RFC 1929 has one octet for each length; the error does not show the password."""
    spec = RouteSpec("clash", RouteKind.SOCKS5H, proxy=("127.0.0.1", 1080), username="ci", password=Secret("x" * 256))
    with pytest.raises(ConfigError, match="longer than 255 bytes") as caught:
        SocksDialer(spec, resolver=TableResolver({}), admit=lambda *_: None)
    assert "xxx" not in str(caught.value)
