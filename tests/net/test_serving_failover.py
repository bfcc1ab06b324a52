"""One request when routes fail: the rounds before it is given up, and the first flight that nobody answers."""

from __future__ import annotations

import asyncio
import socket

import pytest
from structlog.testing import capture_logs
from tests.net.fake_dialer import Establish, FakeDialer
from tests.net.test_serving import (
    CONNECT,
    REFUSED,
    FakeClient,
    Gate,
    client,
    finish,
    refusal,
    serving,
    short_pauses,
    start,
)
from tests.unit.test_tls import HELLO

from towline.core import pacing
from towline.core.ledger import FLIGHT_WEIGHT
from towline.serving import ESTABLISHED
from towline.types import Candidate, Ranking, Role, Target

__all__ = ["client", "short_pauses"]  # fixtures: every test here runs under them too

pytestmark = pytest.mark.usefixtures("task_factory", "no_complaint", "nothing_left")

SERVER_HELLO = b"\x16\x03\x03\x00\x7a\x02" + bytes(121)


async def test_held_for_another_round(client: FakeClient) -> None:
    """A request that every route failed is held, ranked anew and raced again; the client sees nothing but its 200."""
    with FakeDialer(REFUSED, Establish()) as direct:
        served = serving({"direct": direct})
        ranked: list[Target] = []
        rank = served.rank

        def counted(target: Target) -> Ranking:
            ranked.append(target)
            return rank(target)

        served.rank = counted
        task = start(served, CONNECT, client)
        assert await client.read(len(ESTABLISHED)) == ESTABLISHED
        assert (len(ranked), len(direct.targets)) == (2, 2)
        assert served.ledger.routes["direct"].attempts == 2
        client.far.shutdown(socket.SHUT_WR)
        await finish(task)


async def test_a_route_that_comes_between_rounds(client: FakeClient) -> None:
    """The tunnel's line has the reason of the ranking that found it: the one before knew nothing of this route."""
    with FakeDialer(REFUSED) as direct, FakeDialer(Establish()) as vpn, capture_logs() as logs:
        served = serving({"direct": direct, "vpn": vpn})
        kind = served.rank(CONNECT.target).classification
        rankings = [
            Ranking(CONNECT.target, kind, (Candidate(route, 0.0, f"for {route}", 2.0),)) for route in ("direct", "vpn")
        ]
        served.rank = lambda _: rankings.pop(0)
        task = start(served, CONNECT, client)
        assert await client.read(len(ESTABLISHED)) == ESTABLISHED
        client.far.send(b"SSH-2.0-client\r\n")
        client.far.shutdown(socket.SHUT_WR)
        vpn.far_ends[0].shutdown(socket.SHUT_WR)
        await finish(task)
    assert [(line["event"], line["route"], line["why"]) for line in logs] == [("tunnel", "vpn", "for vpn")]


async def test_rounds_end(client: FakeClient) -> None:
    """After its rounds a request is given up; the next one for the same target is not held again in vain."""
    other = FakeClient()
    with other.far, FakeDialer(REFUSED) as direct:
        served = serving({"direct": direct})
        status, reason = await refusal(served, CONNECT, client)
        assert (status, "direct: refused" in reason) == (502, True)
        assert len(direct.targets) == 3
        assert served.ledger.routes["direct"].failures == 3
        assert (await refusal(served, CONNECT, other))[0] == 502
        assert len(direct.targets) == 4


async def test_target_that_came_back(client: FakeClient) -> None:
    """A target that was reached again has its rounds again when it fails next."""
    others = [FakeClient(), FakeClient()]
    with others[0].far, others[1].far, FakeDialer(*[REFUSED] * 3, Establish(), REFUSED) as direct:
        served = serving({"direct": direct})
        await refusal(served, CONNECT, client)
        task = start(served, CONNECT, others[0])
        assert await others[0].read(len(ESTABLISHED)) == ESTABLISHED
        others[0].far.close()
        await finish(task)
        await refusal(served, CONNECT, others[1])
        assert len(direct.targets) == 3 + 1 + 3


async def test_client_leaves_between_rounds(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that leaves while its request is held ends it at once."""
    monkeypatch.setattr(pacing, "PAUSES", (15.0, 15.0))
    with FakeDialer(REFUSED) as direct, capture_logs() as logs:
        served = serving({"direct": direct})
        task = start(served, CONNECT, client)
        while not served.ledger.routes:  # noqa: ASYNC110 - the ledger has no event; the first round is a few turns
            await asyncio.sleep(0)
        client.leave()
        await finish(task)
    assert [line["event"] for line in logs] == ["client_left"]
    assert len(direct.targets) == 1


async def test_nobody_answers_the_first_flight(client: FakeClient) -> None:
    """A first flight that no route answers ends in FIN for the client, a log line, a count, and blame that weighs."""
    gate = Gate()  # whose far end closes at once
    gate.open.set()
    with capture_logs() as logs:
        served = serving({"direct": gate})
        task = start(served, CONNECT, client)
        client.far.send(HELLO)
        assert await client.read_all() == ESTABLISHED
        client.far.shutdown(socket.SHUT_WR)
        await finish(task)
    assert [line["event"] for line in logs] == ["no_answer"]
    assert [attempt.partition(":")[0] for attempt in logs[0]["attempts"]] == ["direct"]
    assert served.ledger.totals().refused == {"no_answer": 1}
    assert served.ledger.health["direct", "test", Role.API].streak.weight == FLIGHT_WEIGHT
    assert served.ledger.tunnels == {}


async def test_answered_flight(client: FakeClient) -> None:
    """Until the server answers a tunnel is in its first flight; then it relays, tuned, and its route is in favour."""
    with FakeDialer() as direct:
        served = serving({"direct": direct})
        served.ledger.learned.of("direct", "test", Role.API).failed("refused", now=0.0)
        task = start(served, CONNECT, client)
        client.far.send(HELLO)
        assert await client.read(len(ESTABLISHED)) == ESTABLISHED
        assert [tunnel.phase for tunnel in served.ledger.tunnels.values()] == ["first flight"]
        await asyncio.get_running_loop().sock_sendall(direct.far_ends[0], SERVER_HELLO)
        assert await client.read(len(SERVER_HELLO)) == SERVER_HELLO
        assert [tunnel.phase for tunnel in served.ledger.tunnels.values()] == ["relaying"]
        health = served.ledger.health["direct", "test", Role.API]
        assert (health.streak.weight, health.answer.value is None) == (0, False)
        assert client.near.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert client.near.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        direct.far_ends[0].close()
        client.far.close()
        await finish(task)


async def test_idle_more_than_once(client: FakeClient) -> None:
    """That no tunnel was open some time ago is no answer to whether one is open now."""
    gate, other = Gate(), FakeClient()
    served = serving({"direct": gate})
    with other.far:
        task = start(served, CONNECT, other)
        other.leave()
        await finish(task)
    task = start(served, CONNECT, client)
    waiting = asyncio.create_task(served.wait_until_idle(15.0))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    client.leave()
    await finish(waiting)
    await finish(task)
