"""Names over HTTPS: questions as RFC 8484 has them, who is trusted, kept connections, and what is no answer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
from tests.net.doh_server import MESSAGE, DohServer
from tests.net.name_server import Zone
from tests.net.peers import GARBAGE, Client, Peer, closed_port
from tests.net.resolvers import TableResolver
from tests.net.test_resolve import endpoints, soon

from towline.errors import DialError
from towline.net import dns, doh, over_route
from towline.net.direct import DirectDialer
from towline.net.dns import DnsResolver
from towline.net.doh import HttpsServer
from towline.types import Blame, NameServer, OutcomeKind, RouteSpec

NAME = "registry.test"
DNS = "dns.test"
ZONES = {NAME: Zone(A=["192.0.2.1"], AAAA=["2001:db8::1"])}
pytestmark = pytest.mark.usefixtures("system_roots", "task_factory", "no_complaint", "nothing_left")


def doh_server(
    zones: Mapping[str, Zone],
    issuer: trustme.CA,
    *,
    names: tuple[str, ...] = ("127.0.0.1",),
    protocols: tuple[str, ...] = ("h2", "http/1.1"),
    **options: Any,
) -> DohServer:
    """A server whose certificate `issuer` has signed for these names."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issuer.issue_cert(*names).configure_cert(context)
    context.set_alpn_protocols(list(protocols))
    return DohServer(zones, context, **options)


@asynccontextmanager
async def resolver(port: int, host: str = "127.0.0.1") -> AsyncIterator[DnsResolver]:
    """A resolver that asks the server at this port, over the plain connection."""
    direct = DirectDialer(RouteSpec("direct"), resolver=TableResolver({DNS: ["127.0.0.1"]}), admit=lambda *_: None)
    server = HttpsServer(NameServer("https", (host, port), "/dns-query"), direct)
    names = DnsResolver(server, "the server")
    yield names
    asking = list(names._asking.values())
    names.close()
    await asyncio.gather(*asking, return_exceptions=True)
    while server._network._open:  # noqa: ASYNC110 - closing takes a turn of the loop or two
        await asyncio.sleep(0)


async def failure(names: DnsResolver, *, seconds: float = 10) -> DialError:
    """Why the name is not resolved."""
    with pytest.raises(DialError) as caught:
        await names.resolve(NAME, 443, deadline=soon(seconds))
    return caught.value


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_asks_by_post(authority: trustme.CA, protocol: str) -> None:
    """Both families by POST, in HTTP/2 over one connection, in HTTP/1.1 over as many as there are questions."""
    async with doh_server(ZONES, authority, protocols=(protocol,)) as server, resolver(server.port) as names:
        found = await names.resolve(NAME, 443, deadline=soon())
    assert set(found) == set(endpoints("192.0.2.1", "2001:db8::1"))
    assert server.requests == [("POST", "/dns-query", MESSAGE)] * 2
    assert set(server.connections) == {protocol}
    assert len(server.connections) <= (1 if protocol == "h2" else 2)


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_keeps_its_connections(authority: trustme.CA, protocol: str) -> None:
    """The next question does not wait for another handshake."""
    zones = ZONES | {"other.test": Zone(A=["192.0.2.2"])}
    async with doh_server(zones, authority, protocols=(protocol,)) as server, resolver(server.port) as names:
        await names.resolve(NAME, 443, deadline=soon())
        before = len(server.connections)
        assert await names.resolve("other.test", 443, deadline=soon()) == endpoints("192.0.2.2")
        assert len(server.connections) == before


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_connects_anew_when_the_server_has_closed(authority: trustme.CA, protocol: str) -> None:
    """A server may close a connection that idles, and that costs no lookup."""
    zones = ZONES | {"other.test": Zone(A=["192.0.2.2"])}
    async with doh_server(zones, authority, protocols=(protocol,)) as server, resolver(server.port) as names:
        await names.resolve(NAME, 443, deadline=soon())
        server.drop()
        await asyncio.sleep(0.05)
        assert await names.resolve("other.test", 443, deadline=soon()) == endpoints("192.0.2.2")


async def test_a_connection_that_has_fallen_silent_is_left(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that has dropped it tells nobody: the question that it leaves unanswered is the last one over it."""
    zones = ZONES | {"other.test": Zone(A=["192.0.2.2"])}
    async with doh_server(zones, authority) as server, resolver(server.port) as names:
        await names.resolve(NAME, 443, deadline=soon())
        server.mute()
        monkeypatch.setattr(dns, "LOOKUP_TIME", 0.2)
        with pytest.raises(DialError, match="no answer"):
            await names.resolve("other.test", 443, deadline=soon())
        monkeypatch.setattr(dns, "LOOKUP_TIME", 5.0)
        assert await names.resolve("other.test", 443, deadline=soon()) == endpoints("192.0.2.2")
        assert server.connections == ["h2", "h2"]


async def test_on_another_network_it_connects_anew(authority: trustme.CA) -> None:
    """What was made on the last one may be dead, and is not asked."""
    async with doh_server(ZONES, authority) as server, resolver(server.port) as names:
        await names.resolve(NAME, 443, deadline=soon())
        server.mute()
        names.forget()
        assert set(await names.resolve(NAME, 443, deadline=soon())) == set(endpoints("192.0.2.1", "2001:db8::1"))
        assert server.connections == ["h2", "h2"]


async def test_closes_what_is_not_used(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some time without a question no connection is left, and the next question makes one."""
    monkeypatch.setattr(doh, "KEPT", 0.04)
    monkeypatch.setattr(over_route, "IDLE", 0.05)
    zones = ZONES | {"other.test": Zone(A=["192.0.2.2"])}
    async with doh_server(zones, authority) as server, resolver(server.port) as names:
        await names.resolve(NAME, 443, deadline=soon())
        await server.until_idle()
        await names.resolve("other.test", 443, deadline=soon())
        assert server.connections == ["h2", "h2"]


async def test_checks_the_certificate(authority: trustme.CA) -> None:
    """Whoever answers in the server's place is not believed."""
    async with doh_server(ZONES, trustme.CA()) as server, resolver(server.port) as names:
        error = await failure(names)
    assert (error.kind, error.blame) == (OutcomeKind.TLS, Blame.ROUTE)
    assert error.detail.startswith("the server: certificate not trusted: ")
    assert server.requests == []


async def test_checks_the_name_in_the_certificate(authority: trustme.CA) -> None:
    """A trusted certificate for somebody else is none for this server; a server may be named, too."""
    async with doh_server(ZONES, authority, names=(DNS,)) as server:
        async with resolver(server.port) as names:
            assert "certificate not trusted" in (await failure(names)).detail
        async with resolver(server.port, host=DNS) as names:
            assert await names.resolve(NAME, 443, deadline=soon())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"status": 403}, "the server: answers with status 403"),
        ({"body": b"<html>"}, " from the server"),
        ({"body": b""}, " from the server"),
        ({"body": bytes(70_000)}, "the server: answers with more than 65535 bytes"),
    ],
)
async def test_says_what_is_no_answer(authority: trustme.CA, options: dict[str, Any], said: str) -> None:
    """A page, an error or too much of something is the server's failure, and so the route's."""
    async with doh_server(ZONES, authority, **options) as server, resolver(server.port) as names:
        error = await failure(names)
    assert (error.kind, error.blame) == (OutcomeKind.UNRESOLVED, Blame.ROUTE)
    assert error.detail.endswith(said)


async def test_says_what_is_no_https(authority: trustme.CA) -> None:
    """Something else that listens there is told from a server that does not."""

    async def garbage(client: Client) -> None:
        await client.send(GARBAGE)

    async with Peer(garbage) as peer, resolver(peer.port) as names:
        assert (await failure(names)).detail == "the server: no TLS on this port (http:// instead of https://?)"
    async with resolver(closed_port()) as names:
        error = await failure(names)
    assert (error.detail, error.blame) == ("the server: refused", Blame.ROUTE)


async def test_says_what_is_no_http(authority: trustme.CA) -> None:
    """TLS alone makes no DNS server."""

    async def speaks_otherwise(client: Client) -> None:
        await client.start_tls(server._context)
        await client.send(b"220 mail.test ESMTP\r\n\r\n")
        while await client.read():
            pass

    server = doh_server(ZONES, authority, protocols=("http/1.1",))
    async with Peer(speaks_otherwise) as peer, resolver(peer.port) as names:
        error = await failure(names)
    assert error.detail.startswith("the server: answers with no HTTP: ")


async def test_silence_ends_with_the_deadline(authority: trustme.CA) -> None:
    """A server that takes the question and says nothing is named; nothing is left of it."""
    zone = Zone(held={"A": asyncio.Event(), "AAAA": asyncio.Event()})
    async with doh_server({NAME: zone}, authority) as server, resolver(server.port) as names:
        error = await failure(names, seconds=0.5)
        assert error.detail == "no answer from the server"
