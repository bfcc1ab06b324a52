"""The first flight on real sockets: replayed while nobody has answered, pinned by the first answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.net.fake_dialer import Establish, Fail, FakeDialer, Hang
from tests.unit.test_tls import HELLO, hello_with

from towline.core.policy import FailoverPolicy
from towline.errors import ClientLeft, DialError, NoRoute
from towline.net import flight
from towline.net.dialer import Dialed
from towline.net.flight import MAX_FLIGHT, Flown, fly
from towline.net.racer import Won
from towline.types import Blame, Candidate, Classification, OutcomeKind, Phase, Ranking, Role, Target

TARGET = Target("registry.test", 443)
API = Classification("test", Role.API, "registry.test", "api host of test")
SERVER_HELLO = b"\x16\x03\x03\x00\x7a\x02" + bytes(121)
FATAL_ALERT = b"\x15\x03\x03\x00\x02\x02\x28"
BLOCK_PAGE = b"HTTP/1.1 403 Forbidden\r\n\r\n"
PATIENCE = 0.02  # seconds before the next route is tried
DEADLINE = 10.0  # seconds within which anything here must have happened

type Script = Callable[[socket.socket], Coroutine[Any, Any, None]]

pytestmark = pytest.mark.usefixtures("task_factory", "no_complaint", "nothing_left")


async def receive(sock: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes."""
    data = b""
    while len(data) < size:
        data += await asyncio.get_running_loop().sock_recv(sock, size - len(data))
    return data


def answers(data: bytes) -> Script:
    """A server that waits for the whole hello and answers."""

    async def play(sock: socket.socket) -> None:
        assert await receive(sock, len(HELLO)) == HELLO
        await asyncio.get_running_loop().sock_sendall(sock, data)

    return play


async def silence(_sock: socket.socket) -> None:
    """A server that never says anything."""


async def closes(sock: socket.socket) -> None:
    """A server that takes the hello and closes."""
    await receive(sock, len(HELLO))
    sock.close()


async def closes_at_once(sock: socket.socket) -> None:
    """A server that closes without reading."""
    sock.close()


@dataclass
class World:
    """A client that has its 200 over the first of some routes."""

    near: socket.socket
    client: socket.socket
    dialers: dict[str, FakeDialer] = field(default_factory=dict)
    servers: list[asyncio.Task[None]] = field(default_factory=list)
    wrong: list[tuple[str, Dialed, str]] = field(default_factory=list)
    """What answered with something that the target does not say."""

    async def fly(
        self,
        scripts: dict[str, Script | None],
        *,
        early: bytes = b"",
        behind_reply: bytes = b"",
        budget: float = 5.0,
    ) -> Flown:
        """Dial the first route, let every route's server play its script, and fly; None is a route that hangs.

        `behind_reply` comes from the first route before it is sent anything.
        """
        first = next(iter(scripts))
        for route, script in scripts.items():
            spoken = behind_reply if route == first else b""
            self.dialers[route] = FakeDialer(Hang() if script is None else Establish(early=spoken))
        dialed = await self.dialers[first].dial(TARGET, deadline=asyncio.get_running_loop().time() + DEADLINE)
        candidates = tuple(Candidate(route, 0.1, "", 0.25, PATIENCE) for route in scripts)
        for route, script in scripts.items():
            if script is not None:
                self.servers.append(asyncio.get_running_loop().create_task(self._serve(route, script)))
        policy = FailoverPolicy(budget_flight=budget, budget_blob=budget)
        async with asyncio.timeout(DEADLINE):
            ranking = Ranking(TARGET, API, candidates)
            return await fly(self.near, early, Won(first, dialed, ()), ranking, self.dialers, policy, self._wrong)

    def _wrong(self, route: str, target: Target, dialed: Dialed, error: DialError) -> None:
        self.wrong.append((route, dialed, error.detail))

    async def _serve(self, route: str, script: Script) -> None:
        while not self.dialers[route].far_ends:  # noqa: ASYNC110 - the fake dialer has no event for it
            await asyncio.sleep(0.001)
        await script(self.dialers[route].far_ends[0])

    async def close(self) -> None:
        for task in self.servers:
            task.cancel()
        await asyncio.gather(*self.servers, return_exceptions=True)
        for dialer in self.dialers.values():
            for sock in dialer.far_ends:
                sock.close()
        self.near.close()
        self.client.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A connected client."""
    near, client = socket.socketpair()
    near.setblocking(False)
    client.setblocking(False)
    world = World(near, client)
    yield world
    await world.close()


async def test_answer_pins_the_route(world: World) -> None:
    """One route that answers: its first bytes are handed on, and nothing is left to send."""
    world.client.sendall(HELLO)
    flown = await world.fly({"direct": answers(SERVER_HELLO), "vpn": answers(SERVER_HELLO)})
    with flown.dialed.sock:
        assert (flown.route, flown.dialed.early, flown.unsent) == ("direct", SERVER_HELLO, b"")
    assert [str(attempt) for attempt in flown.attempts] == ["direct: established"]
    assert world.dialers["vpn"].targets == []


async def test_hello_may_come_in_pieces(world: World) -> None:
    """What came with the CONNECT and what comes later are one flight."""
    world.client.sendall(HELLO[100:])
    flown = await world.fly({"direct": answers(SERVER_HELLO)}, early=HELLO[:100])
    with flown.dialed.sock:
        assert flown.dialed.early == SERVER_HELLO


@pytest.mark.parametrize(
    ("bad", "wrong"),
    [
        (silence, []),
        (closes, []),
        (closes_at_once, []),
        (answers(FATAL_ALERT), ["TLS alert 40"]),
        (answers(b"HTTP/1.1 403 No\r\n"), ["answered the ClientHello with something that is no TLS"]),
    ],
)
async def test_bad_first_route_is_replaced(world: World, bad: Script, wrong: list[str]) -> None:
    """Silence, FIN before and after the hello, an alert and a block page: the next route gets the same hello.

    Answers that the target does not give are told of, with where they came from.
    """
    world.client.sendall(HELLO)
    flown = await world.fly({"direct": bad, "vpn": answers(SERVER_HELLO)})
    with flown.dialed.sock:
        assert (flown.route, flown.dialed.early) == ("vpn", SERVER_HELLO)
    assert [attempt.route for attempt in flown.attempts] == ["direct", "vpn"]
    assert [(route, dialed.peer, why) for route, dialed, why in world.wrong] == [
        ("direct", TARGET.authority, why) for why in wrong
    ]


async def test_any_number_of_routes(world: World) -> None:
    """The flight goes on until a route answers."""
    world.client.sendall(HELLO)
    scripts: dict[str, Script | None] = {"a": silence, "b": None, "c": closes, "d": silence, "e": answers(SERVER_HELLO)}
    flown = await world.fly(scripts)
    with flown.dialed.sock:
        assert flown.route == "e"


async def test_late_answer_of_the_first_route_counts(world: World) -> None:
    """A silent line stays open beside the next: whichever answers first is pinned."""
    world.client.sendall(HELLO)
    replayed = asyncio.Event()

    async def late(sock: socket.socket) -> None:
        await replayed.wait()
        await answers(SERVER_HELLO)(sock)

    async def takes_and_tells(sock: socket.socket) -> None:
        await receive(sock, len(HELLO))
        replayed.set()

    flown = await world.fly({"direct": late, "vpn": takes_and_tells})
    with flown.dialed.sock:
        assert flown.route == "direct"


async def test_nobody_answers(world: World) -> None:
    """By the budget it is over, and every route says how it ended."""
    world.client.sendall(HELLO)
    with pytest.raises(NoRoute) as raised:
        await world.fly({"direct": silence, "vpn": closes}, budget=0.3)
    silent, closed = raised.value.attempts
    assert (silent.route, silent.outcome.kind, silent.outcome.blame) == ("direct", OutcomeKind.TIMEOUT, Blame.ROUTE)
    assert (closed.route, closed.outcome.kind) == ("vpn", OutcomeKind.CLOSED)


async def test_route_that_cannot_be_dialed(world: World) -> None:
    """A replacement may fail before it is sent anything; the flight goes on over what is left."""
    world.client.sendall(HELLO)
    world.dialers["unused"] = FakeDialer(Fail(DialError(OutcomeKind.REFUSED, Phase.CONNECT, Blame.ROUTE, "refused")))
    flown = await world.fly({"direct": silence, "vpn": None, "office": answers(SERVER_HELLO)})
    with flown.dialed.sock:
        assert flown.route == "office"


@pytest.mark.parametrize("flight", [hello_with((42, b"")), b"SSH-2.0-client\r\n"], ids=["early data", "no tls"])
async def test_what_may_not_be_sent_twice_is_not(world: World, flight: bytes) -> None:
    """0-RTT data and protocols that are not TLS stay with the first route, unsent for the relay to send."""
    world.client.sendall(flight)
    flown = await world.fly({"direct": closes_at_once, "vpn": answers(SERVER_HELLO)})
    with flown.dialed.sock:
        assert (flown.route, flown.unsent, flown.attempts) == ("direct", flight, ())
    assert world.dialers["vpn"].targets == []


async def test_endless_hello_is_not_kept(world: World) -> None:
    """A ClientHello that is longer than any is pinned with what was read of it."""
    endless = b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(0x4000 - 4)
    more = b"".join(b"\x16\x03\x01\x40\x00" + bytes(0x4000) for _ in range(5))
    flown = await world.fly({"direct": silence}, early=endless + more)
    with flown.dialed.sock:
        assert len(flown.unsent) >= MAX_FLIGHT
        assert flown.unsent == endless + more


async def test_server_that_speaks_first(world: World) -> None:
    """A greeting that the client waits for ends the flight: it is handed on, and there is nothing to replay."""

    async def greets(sock: socket.socket) -> None:
        await asyncio.get_running_loop().sock_sendall(sock, b"220 ready\r\n")

    flown = await world.fly({"direct": greets, "vpn": answers(SERVER_HELLO)})
    with flown.dialed.sock:
        assert (flown.route, flown.dialed.early, flown.unsent) == ("direct", b"220 ready\r\n", b"")


async def test_server_that_closes_before_the_client_speaks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no end yet, and nothing to look at over and over: the hello, when it comes, goes over the next route."""
    ends_seen: list[socket.socket] = []
    read_now = flight._read_now

    def noted(sock: socket.socket) -> bytes | None:
        if (data := read_now(sock)) == b"":
            ends_seen.append(sock)
            asyncio.get_running_loop().call_later(0.05, world.client.sendall, HELLO)
        return data

    monkeypatch.setattr(flight, "_read_now", noted)
    flown = await world.fly({"direct": closes_at_once, "vpn": answers(SERVER_HELLO)})
    with flown.dialed.sock:
        assert (flown.route, flown.dialed.early) == ("vpn", SERVER_HELLO)
    assert len(ends_seen) == 1


@pytest.mark.parametrize("sent", [b"", HELLO[:50]], ids=["nothing", "half a hello"])
async def test_client_that_waits_for_ever(world: World, sent: bytes) -> None:
    """One that opens a tunnel and says too little does not keep it; its server is not waited for either."""
    world.client.sendall(sent)
    with pytest.raises(ClientLeft):
        await world.fly({"direct": silence}, budget=0.1)


SPOKE_FIRST = "spoke before the ClientHello, as no TLS server does"


async def test_page_behind_the_reply(world: World) -> None:
    """A captive portal's 200 with its page behind it is no tunnel: the flight goes over the next route."""
    flown = await world.fly({"direct": silence, "vpn": answers(SERVER_HELLO)}, early=HELLO, behind_reply=BLOCK_PAGE)
    with flown.dialed.sock:
        assert (flown.route, flown.dialed.early) == ("vpn", SERVER_HELLO)
    assert [(route, detail) for route, _, detail in world.wrong] == [("direct", SPOKE_FIRST)]


async def test_page_before_the_hello(world: World) -> None:
    """Nor is one that speaks after the 200, where the client turns out to begin with a ClientHello."""

    async def greets(sock: socket.socket) -> None:
        await asyncio.get_running_loop().sock_sendall(sock, BLOCK_PAGE)
        world.client.sendall(HELLO)

    flown = await world.fly({"direct": greets, "vpn": answers(SERVER_HELLO)})
    with flown.dialed.sock:
        assert (flown.route, flown.dialed.early) == ("vpn", SERVER_HELLO)
    assert {route for route, _, _ in world.wrong} == {"direct"}


@pytest.mark.parametrize("sent", [b"", HELLO], ids=["before the hello", "after the hello"])
async def test_client_that_leaves(world: World, sent: bytes) -> None:
    """A client that closes ends the flight, and every line of it."""
    flying = asyncio.get_running_loop().create_task(world.fly({"direct": silence, "vpn": silence}))
    world.client.sendall(sent)
    await asyncio.sleep(0)
    world.client.close()
    with pytest.raises(ClientLeft):
        await flying


async def test_client_that_leaves_in_the_middle_of_its_hello(world: World) -> None:
    """Half a hello and FIN are handed on as they are: it is for the server to judge them."""
    world.client.sendall(HELLO[:50])
    world.client.shutdown(socket.SHUT_WR)
    flown = await world.fly({"direct": silence})
    with flown.dialed.sock:
        assert flown.unsent == HELLO[:50]


async def test_cancelled_flight_closes_every_line(world: World) -> None:
    """Cancellation closes what the race had won and what was dialled since (the fixture counts)."""
    flying = asyncio.get_running_loop().create_task(world.fly({"direct": silence, "vpn": silence}))
    world.client.sendall(HELLO)
    while len(world.dialers.get("vpn", FakeDialer()).far_ends) == 0:  # noqa: ASYNC110 - no event for it
        await asyncio.sleep(0.001)
    flying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flying
