"""One DNS server over UDP: loss, forgery, answers that do not fit, and the route that questions take."""

from __future__ import annotations

import asyncio
import ipaddress

import dns.exception
import dns.message
import dns.rdatatype
import pytest
from tests.net.name_server import Server, Zone
from tests.net.test_resolve import endpoints

from towline.net import dns_udp as subject
from towline.net.dns_udp import UdpServer
from towline.types import RouteSpec

NAME = "registry.test"
pytestmark = pytest.mark.usefixtures("task_factory", "no_complaint", "nothing_left")


async def ask(server: Server, spec: RouteSpec = RouteSpec("direct")) -> list[str]:  # noqa: B008 - it is frozen
    """The IPv4 addresses that the server gives for the name."""
    (endpoint,) = endpoints("127.0.0.1", port=server.port)
    query = dns.message.make_query(NAME, dns.rdatatype.A)
    async with asyncio.timeout(10):
        response = await UdpServer(spec, endpoint).ask(query)
    return [record.address for rrset in response.answer for record in rrset]


async def test_asks_again_what_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """UDP loses datagrams: the question is sent until it is answered."""
    monkeypatch.setattr(subject, "RESEND_AFTER", 0.01)
    async with Server({NAME: Zone(A=["192.0.2.1"], lost=2)}) as server:
        assert await ask(server) == ["192.0.2.1"]
        assert len(server.asked) >= 3


def forged(answer: bytes) -> list[bytes]:
    """Answers with another number, to another question, and no DNS at all; then the true one."""
    other = dns.message.make_response(dns.message.make_query("other.test", dns.rdatatype.A))
    other.id = int.from_bytes(answer[:2])
    wrong_number = bytes([answer[0] ^ 1]) + answer[1:]
    return [b"", b"garbage", answer[:9], wrong_number, other.to_wire(), answer]


async def test_passes_over_what_does_not_answer_the_question() -> None:
    """Whoever guesses wrong does not end the question."""
    async with Server({NAME: Zone(A=["192.0.2.1"])}, spoil=forged) as server:
        assert await ask(server) == ["192.0.2.1"]
        assert len(server.asked) == 1


async def test_fetches_over_tcp_what_does_not_fit() -> None:
    """An answer that says it is cut off is asked for again, where there is room."""
    async with Server({NAME: Zone(A=[f"192.0.2.{n}" for n in range(1, 9)], truncated=True)}) as server:
        assert len(await ask(server)) == 8
        assert [over for *_, over in server.asked] == ["udp", "tcp"]


async def test_a_connection_that_ends_in_the_middle_is_an_error() -> None:
    """Half an answer over TCP is none."""
    async with Server({NAME: Zone(truncated=True)}) as server:
        answer = server.answer

        async def cut(wire: bytes, over: str) -> bytes | None:
            return await answer(wire, over) if over == "udp" else None

        server.answer = cut  # type: ignore[method-assign]
        with pytest.raises(ConnectionResetError):
            await ask(server)


async def test_an_answer_over_tcp_to_something_else_is_an_error() -> None:
    """There nobody can slip another one in, so it is the server's own."""
    async with Server({NAME: Zone(truncated=True)}) as server:
        answer = server.answer

        async def other(wire: bytes, over: str) -> bytes | None:
            asked = wire if over == "udp" else dns.message.make_query("other.test", dns.rdatatype.A).to_wire()
            return await answer(asked, over)

        server.answer = other  # type: ignore[method-assign]
        with pytest.raises(dns.exception.DNSException):
            await ask(server)


@pytest.mark.parametrize("truncated", [False, True], ids=["udp", "tcp"])
async def test_leaves_from_the_source(*, truncated: bool) -> None:
    """The server sees the route's source address, over UDP and over TCP."""
    seen: list[str] = []

    class Watching(Server):
        async def _answer_datagram(self, question: bytes, client: tuple[str, int]) -> None:
            seen.append(client[0])
            await super()._answer_datagram(question, client)

        async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(writer.get_extra_info("peername")[0])
            await super()._accepted(reader, writer)

    async with Watching({NAME: Zone(A=["192.0.2.1"], truncated=truncated)}) as server:
        spec = RouteSpec("leased", source=ipaddress.ip_address("127.0.0.9"))
        assert await ask(server, spec) == ["192.0.2.1"]
    assert seen == ["127.0.0.9"] * (2 if truncated else 1)
