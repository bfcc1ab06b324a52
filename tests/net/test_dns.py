"""The resolver of a route's own: both families, what is kept, what is shared, and how failures read."""

from __future__ import annotations

import asyncio

import dns.rcode
import pytest
from tests.net.name_server import Server, Zone
from tests.net.test_resolve import endpoints, soon

from towline.errors import DialError
from towline.net import dns as subject
from towline.net.dns import DnsResolver
from towline.net.dns_udp import UdpServer
from towline.net.resolve import Endpoint
from towline.types import Blame, NameServer, OutcomeKind, Phase, RouteSpec

NAME = "registry.test"
pytestmark = pytest.mark.usefixtures("task_factory", "no_complaint", "nothing_left")


def resolver(server: Server) -> DnsResolver:
    """A resolver that asks this server."""
    (endpoint,) = endpoints("127.0.0.1", port=server.port)
    return DnsResolver(UdpServer(RouteSpec("direct"), endpoint), str(NameServer("udp", endpoint.sockaddr)))


async def resolve(names: DnsResolver, host: str = NAME, *, seconds: float = 10) -> list[Endpoint]:
    """The endpoints of a host at port 443."""
    return await names.resolve(host, 443, deadline=soon(seconds))


async def failure(names: DnsResolver, host: str = NAME, *, seconds: float = 10) -> DialError:
    """Why a host is not resolved."""
    with pytest.raises(DialError) as caught:
        await resolve(names, host, seconds=seconds)
    assert caught.value.phase is Phase.RESOLVE
    return caught.value


async def test_gives_both_families_in_turn() -> None:
    """A and AAAA are asked for at once, and their addresses take turns."""
    async with Server({NAME: Zone(A=["192.0.2.1", "192.0.2.2"], AAAA=["2001:db8::1", "2001:db8::2"])}) as server:
        found = await resolve(resolver(server))
    assert set(found) == set(endpoints("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"))
    assert [endpoint.ip.version for endpoint in found] in ([4, 6, 4, 6], [6, 4, 6, 4])
    assert sorted(server.asked) == [(NAME, "A", "udp"), (NAME, "AAAA", "udp")]


async def test_a_literal_is_its_own_answer() -> None:
    """Nobody is asked for an address."""
    async with Server({}) as server:
        assert await resolve(resolver(server), "192.0.2.9") == endpoints("192.0.2.9")
        assert server.asked == []


async def test_follows_aliases() -> None:
    """A registry in front of a CDN has its addresses under another name, in the same answer."""
    async with Server({NAME: Zone(A=["192.0.2.1"], alias="edge.cdn.test")}) as server:
        assert await resolve(resolver(server)) == endpoints("192.0.2.1")


async def test_a_slow_family_is_not_waited_for_and_known_the_next_time() -> None:
    """Once one family has answered the other gets a moment; its answer still comes in, for the next lookup."""
    late = asyncio.Event()
    zone = Zone(A=["192.0.2.1"], AAAA=["2001:db8::1"], held={"AAAA": late})
    async with Server({NAME: zone}) as server:
        names = resolver(server)
        assert await resolve(names) == endpoints("192.0.2.1")
        late.set()
        while names._asking:
            await asyncio.wait(list(names._asking.values()))
        assert set(await resolve(names)) == set(endpoints("192.0.2.1", "2001:db8::1"))
    assert len(server.asked) == 2


async def test_what_is_known_waits_for_nothing() -> None:
    """A server that never answers for one family costs a moment once, and not at each lookup."""
    async with Server({NAME: Zone(A=["192.0.2.1"], silent=["AAAA"])}) as server:
        names = resolver(server)
        await resolve(names)
        looking = asyncio.create_task(resolve(names))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert looking.done()
        assert looking.result() == endpoints("192.0.2.1")
        asking = list(names._asking.values())
        names.close()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_a_family_that_has_no_address_is_no_reason_to_stop() -> None:
    """An empty answer that comes first does not end the lookup."""
    late = asyncio.Event()
    async with Server({NAME: Zone(A=["192.0.2.1"], held={"A": late})}) as server:
        looking = asyncio.create_task(resolve(resolver(server)))
        await server.until_asked(2)
        late.set()
        assert await looking == endpoints("192.0.2.1")


async def test_asks_once_while_an_answer_holds() -> None:
    """What is known is not asked for again, that there is no IPv6 address neither, until the network changes."""
    async with Server({NAME: Zone(A=["192.0.2.1"])}) as server:
        names = resolver(server)
        for _ in range(3):
            assert await resolve(names) == endpoints("192.0.2.1")
        assert len(server.asked) == 2
        names.forget()
        server.zones[NAME] = Zone(A=["192.0.2.2"])
        assert await resolve(names) == endpoints("192.0.2.2")


async def test_asks_again_when_an_answer_has_expired() -> None:
    """A time to live of nothing is obeyed."""
    async with Server({NAME: Zone(A=["192.0.2.1"], ttl=0)}) as server:
        names = resolver(server)
        await resolve(names)
        await resolve(names)
    assert [asked for asked in server.asked if asked[1] == "A"] == [(NAME, "A", "udp")] * 2


async def test_an_answer_from_before_a_change_of_network_is_not_kept() -> None:
    """Who asked then gets it; who asks later asks anew."""
    late = asyncio.Event()
    async with Server({NAME: Zone(A=["192.0.2.1"], held={"A": late, "AAAA": late})}) as server:
        names = resolver(server)
        looking = asyncio.create_task(resolve(names))
        await server.until_asked(2)
        names.forget()
        anew = asyncio.create_task(resolve(names))
        await server.until_asked(4)
        late.set()
        assert await looking == await anew == endpoints("192.0.2.1")
        await resolve(names)
    assert len(server.asked) == 4


async def test_makes_one_question_of_many() -> None:
    """Lookups of one name at the same time share its questions, and outlive whoever leaves."""
    late = asyncio.Event()
    async with Server({NAME: Zone(A=["192.0.2.1"], held={"A": late, "AAAA": late})}) as server:
        names = resolver(server)
        looking = [asyncio.create_task(resolve(names)) for _ in range(20)]
        await server.until_asked(2)
        looking[0].cancel()
        late.set()
        found = await asyncio.gather(*looking[1:])
    assert found == [endpoints("192.0.2.1")] * 19
    assert len(server.asked) == 2


async def test_bounds_the_questions_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound they wait for their turn, and all are answered in the end."""
    monkeypatch.setattr(subject, "MAX_QUESTIONS", 2)
    late = asyncio.Event()
    hosts = [f"r{number}.test" for number in range(5)]
    async with Server({host: Zone(A=["192.0.2.1"], held={"A": late, "AAAA": late}) for host in hosts}) as server:
        names = resolver(server)
        looking = [asyncio.create_task(resolve(names, host)) for host in hosts]
        await server.until_asked(2)
        assert len(server.asked) == 2
        late.set()
        assert await asyncio.gather(*looking) == [endpoints("192.0.2.1")] * 5


@pytest.mark.parametrize(
    ("zone", "blame", "said"),
    [
        (Zone(rcode=dns.rcode.NXDOMAIN), Blame.TARGET, "no such host, says udp://127.0.0.1:{}"),
        (Zone(), Blame.TARGET, "no such host, says udp://127.0.0.1:{}"),
        (Zone(rcode=dns.rcode.SERVFAIL), Blame.ROUTE, "SERVFAIL from udp://127.0.0.1:{}"),
        (Zone(rcode=dns.rcode.REFUSED), Blame.ROUTE, "REFUSED from udp://127.0.0.1:{}"),
    ],
)
async def test_says_what_the_server_answered(zone: Zone, blame: Blame, said: str) -> None:
    """That there is no such name is about the target, a server that does not answer properly about the route."""
    async with Server({NAME: zone}) as server:
        error = await failure(resolver(server))
    assert (error.kind, error.blame, error.detail) == (OutcomeKind.UNRESOLVED, blame, said.format(server.port))


async def test_says_who_did_not_answer() -> None:
    """Silence until the deadline names the server."""
    async with Server({NAME: Zone(silent=["A", "AAAA"])}) as server:
        names = resolver(server)
        error = await failure(names, seconds=0.3)
        names.close()
        await asyncio.sleep(0)
    assert (error.kind, error.blame) == (OutcomeKind.TIMEOUT, Blame.ROUTE)
    assert error.detail == f"no answer from udp://127.0.0.1:{server.port}"


async def test_gives_up_before_a_patient_caller_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question ends after its own time, and the next lookup asks again."""
    monkeypatch.setattr(subject, "LOOKUP_TIME", 0.1)
    async with Server({NAME: Zone(silent=["A", "AAAA"])}) as server:
        names = resolver(server)
        for _ in range(2):
            assert (await failure(names)).detail == f"no answer from udp://127.0.0.1:{server.port}"
    assert len(server.asked) == 4


async def test_a_server_that_is_not_there_is_the_routes_fault() -> None:
    """ICMP says at once that nothing listens; the target was not asked for anything."""
    async with Server({}) as server:
        pass
    error = await failure(resolver(server))
    assert (error.kind, error.blame) == (OutcomeKind.REFUSED, Blame.ROUTE)
    assert error.detail == f"udp://127.0.0.1:{server.port}: refused"


async def test_a_way_out_that_is_gone_is_told() -> None:
    """The question leaves by the route's interface, or not at all."""
    (endpoint,) = endpoints("127.0.0.1", port=53)
    names = DnsResolver(UdpServer(RouteSpec("vpn", interface="nosuch0"), endpoint), "udp://127.0.0.1")
    error = await failure(names)
    assert (error.kind, error.blame) == (OutcomeKind.UNREACHABLE, Blame.ROUTE)
    assert error.detail == "udp://127.0.0.1: no interface nosuch0"


async def test_takes_a_bounded_number_of_addresses() -> None:
    """An answer of hundreds of addresses is no reason to dial them all."""
    many = [f"192.0.2.{number}" for number in range(1, 60)]
    async with Server({NAME: Zone(A=many)}) as server:
        assert len(await resolve(resolver(server))) == subject.MAX_ADDRESSES
