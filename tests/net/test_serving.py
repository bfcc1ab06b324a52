"""One request from its head to its end, between a client without mitmproxy and dialers without a network."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import h11
import pytest
from structlog.testing import capture_logs
from tests.net.fake_dialer import Establish, Fail, FakeDialer, Hang

from towline.access import Access
from towline.core import pacing
from towline.core.head import HeadReader, Request
from towline.core.ledger import Ledger
from towline.core.policy import AccessPolicy, FailoverPolicy, LimitsPolicy, StallPolicy
from towline.dialers import Dialers
from towline.errors import ClientLeft, DialError, Refused
from towline.net.dialer import Dialed, Dialer
from towline.net.resolve import SystemResolver
from towline.probing import Probing
from towline.serving import ESTABLISHED, Serving
from towline.types import (
    Blame,
    Candidate,
    Classification,
    IPAddress,
    OutcomeKind,
    Phase,
    Ranking,
    Role,
    Target,
    TunnelPhase,
)
from towline.verifying import Verifying
from towline.watching import Watching


async def nothing(*_: object) -> Sequence[IPAddress]:
    """No address is known to be well."""
    return ()


NO_ROUTES = Dialers((), system=SystemResolver(), sound=nothing, admit=lambda *_: None, slots=asyncio.Semaphore())
"""What addresses would be checked over: the tests of verifying have some."""
TARGET = Target("registry.test", 443)
CONNECT = Request("CONNECT", TARGET)
API = Classification("test", Role.API, "registry.test", "api host of test")
REFUSED = Fail(DialError(OutcomeKind.REFUSED, Phase.CONNECT, Blame.TARGET, "refused"))
BEFORE_A_TIMEOUT = 20.0  # seconds that a test waits for what must come

pytestmark = pytest.mark.usefixtures("task_factory", "no_complaint", "nothing_left")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds follow each other quickly."""
    monkeypatch.setattr(pacing, "PAUSES", (0.01, 0.02))


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection, non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    for end in (near, far):
        end.setblocking(False)
    return near, far


class FakeClient:
    """The client's side (serving.Client), and `far`, what the client itself holds."""

    def __init__(self, *, ip: str = "127.0.0.1", early: bytes = b"") -> None:
        self.ip: IPAddress = ipaddress.ip_address(ip)
        self.name = f"{ip}:50000"
        self.ends = ((ip, 50000), ("127.0.0.1", 3128))
        self.near, self.far = tcp_pair()
        self.early = early
        self.has_left = False
        self.holds_a_tunnel = False
        self.detach_error: Exception | None = None
        self.detached = asyncio.Event()
        self._callback: Callable[[], object] = lambda: None

    def entered(self) -> None:
        """Count it as a tunnel."""
        self.holds_a_tunnel = True

    def when_left(self, callback: Callable[[], object]) -> None:
        """Keep the callback, or call it at once for a client that has left."""
        self._callback = callback
        if self.has_left:
            callback()

    def leave(self) -> None:
        """The client closes."""
        self.has_left = True
        self._callback()

    async def answer(self, head: bytes) -> None:
        """Send an answer."""
        await asyncio.get_running_loop().sock_sendall(self.near, head)

    async def refuse(self, answer: bytes) -> None:
        """Send a last answer."""
        await self.answer(answer)

    async def detach(self) -> tuple[socket.socket, bytes]:
        """Give out a descriptor, as the real one does."""
        if self.detach_error is not None:
            raise self.detach_error
        if self.has_left:
            raise ClientLeft
        self.detached.set()
        sock = self.near.dup()
        sock.setblocking(False)
        return sock, self.early

    def close(self) -> None:
        """Close the connection."""
        self.near.close()

    async def read(self, size: int) -> bytes:
        """What the client receives, `size` bytes of it, or less at its end."""
        return await receive(self.far, size)

    async def read_all(self) -> bytes:
        """Everything that the client receives until the end."""
        return await receive(self.far, 1 << 20)


async def receive(sock: socket.socket, size: int) -> bytes:
    """`size` bytes from a socket, or less at its end."""
    data = b""
    async with asyncio.timeout(BEFORE_A_TIMEOUT):
        while len(data) < size and (more := await asyncio.get_running_loop().sock_recv(sock, size - len(data))):
            data += more
    return data


@pytest.fixture
async def client() -> AsyncIterator[FakeClient]:
    """A client on loopback, which closes at the end."""
    fake = FakeClient()
    yield fake
    fake.far.close()
    fake.near.close()


class Gate:
    """A dialer that is established when the test opens it."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.cancelled = False

    async def dial(self, target: Target, *, deadline: float) -> Dialed:
        """Wait to be opened."""
        self.begun.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        near, far = tcp_pair()
        far.close()
        return Dialed(near, peer=target.authority)


def serving(dialers: Mapping[str, Dialer], **changes: Any) -> Serving:
    """Serving over these routes, in their order."""

    def rank(target: Target) -> Ranking:
        candidates = tuple(Candidate(route, 0.0, "not measured yet", 2.0) for route in dialers)
        return Ranking(target, API, candidates)

    ledger = Ledger(started_at=0.0)
    parts: dict[str, Any] = {
        "rank": rank,
        "dialers": dialers,
        "ledger": ledger,
        "watching": Watching(ledger, StallPolicy, Probing(ledger, rank, lambda: dialers)),
        "verifying": Verifying(rank, lambda _: (), lambda: NO_ROUTES),
        "access": Access(AccessPolicy()),
        "failover": FailoverPolicy(budget_api=BEFORE_A_TIMEOUT),
        "limits": LimitsPolicy(linger=0.2),
        "pipes": None,
        "name": "cafe",
    }
    return Serving(**parts | changes)


def start(served: Serving, request: Request | Refused, client: FakeClient) -> asyncio.Task[None]:
    """Serve a request in a task of its own, as the addon's hook does."""
    return asyncio.create_task(served.serve(request, client))


async def finish(task: asyncio.Task[None]) -> None:
    """Wait for the end of a request."""
    async with asyncio.timeout(BEFORE_A_TIMEOUT):
        await task


async def refusal(served: Serving, request: Request | Refused, client: FakeClient) -> tuple[int, str]:
    """Serve a request that must be refused; status and reason, the answer checked as a client would read it."""
    await finish(start(served, request, client))
    assert client.near.fileno() == -1, "a refused connection is closed"
    data = await client.read_all()
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="CONNECT", target="registry.test:443", headers=[("Host", "registry.test:443")]))
    reader.receive_data(data)
    response, body = reader.next_event(), reader.next_event()
    assert isinstance(response, h11.Response)
    assert isinstance(body, h11.Data)
    assert isinstance(reader.next_event(), h11.EndOfMessage)
    assert reader.trailing_data == (b"", False), "nothing follows the body"
    assert dict(response.headers)[b"connection"] == b"close"
    reason = response.reason.decode("ascii")
    assert bytes(body.data) == f"{reason}\n".encode("ascii"), "the body is the reason, for a browser"
    assert reason.isprintable()
    assert len(reason) < 200
    return response.status_code, reason


async def test_tunnel(client: FakeClient) -> None:
    """A CONNECT becomes a tunnel: 200, then bytes both ways until the ends, one log line, and the sums."""
    with FakeDialer() as direct, capture_logs() as logs:
        served = serving({"direct": direct})
        task = start(served, CONNECT, client)
        assert await client.read(len(ESTABLISHED)) == ESTABLISHED
        (far,) = direct.far_ends
        client.far.send(b"client hello")
        assert await receive(far, 12) == b"client hello"
        (tunnel,) = served.ledger.tunnel_views(now=asyncio.get_running_loop().time())
        assert (tunnel.route, tunnel.phase, tunnel.client) == ("direct", "relaying", "127.0.0.1:50000")
        assert list(served.relays) == [tunnel.id]
        far.send(b"server hello")
        far.shutdown(socket.SHUT_WR)
        assert await client.read_all() == b"server hello"
        client.far.shutdown(socket.SHUT_WR)
        await finish(task)
    (line,) = logs
    assert line.pop("seconds") < BEFORE_A_TIMEOUT
    assert line == {
        "event": "tunnel",
        "log_level": "info",
        "client": "127.0.0.1:50000",
        "target": "registry.test:443",
        "registry": "test",
        "role": "api",
        "route": "direct",
        "why": "not measured yet",
        "peer": "registry.test:443",
        "bytes_in": 12,
        "bytes_out": 12,
        "end": "upstream fin",
    }
    totals = served.ledger.totals()
    assert (totals.tunnels, totals.bytes_in, totals.bytes_out) == (1, 12, 12)
    assert served.ledger.tunnels == {}
    assert served.relays == {}
    assert served.ledger.health["direct", "test", Role.API].attempts == 1


async def test_early_bytes(client: FakeClient) -> None:
    """Bytes that came before the relay, from either side, go first and in order."""
    client.early = b"first "
    with FakeDialer(Establish(early=b"banner ")) as direct:
        task = start(serving({"direct": direct}), CONNECT, client)
        greeting = await client.read(len(ESTABLISHED) + 7)
        assert greeting == ESTABLISHED + b"banner "
        client.far.send(b"flight")
        client.far.shutdown(socket.SHUT_WR)
        (far,) = direct.far_ends
        assert await receive(far, 100) == b"first flight"
        far.close()
        await finish(task)


async def test_plain_http(client: FakeClient) -> None:
    """An absolute-form request gets no 200: its head goes upstream first, then the body, and the answer comes back."""
    whole = HeadReader().feed(b"PUT http://registry.test:443/v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nbo")
    assert whole is not None
    request, client.early = whole
    with FakeDialer() as direct:
        task = start(serving({"direct": direct}), request, client)
        client.far.send(b"dy!")
        client.far.shutdown(socket.SHUT_WR)
        await client.detached.wait()
        (far,) = direct.far_ends
        assert await receive(far, 1000) == (
            b"PUT /v2/ HTTP/1.1\r\nHost: registry.test:443\r\nContent-Length: 5\r\n"
            b"Via: 1.1 towline\r\nConnection: close\r\n\r\nbody!"
        )
        far.send(b"HTTP/1.1 201 Created\r\n\r\n")
        far.close()
        assert await client.read_all() == b"HTTP/1.1 201 Created\r\n\r\n"
        await finish(task)


async def test_plain_http_ends_a_streak(client: FakeClient) -> None:
    """Plain HTTP has no flight to race: its route is back in favour when an answer has come and ended well."""
    with FakeDialer(Establish()) as direct:
        served = serving({"direct": direct})
        served.ledger.learned.of("direct", "test", Role.API).failed("refused", now=0.0)
        task = start(served, Request("GET", TARGET, b"GET / HTTP/1.1\r\n\r\n"), client)
        await client.detached.wait()
        await asyncio.get_running_loop().sock_recv(direct.far_ends[0], 100)  # closing it unread would be a reset: a cut
        direct.far_ends[0].send(b"HTTP/1.1 204 No Content\r\n\r\n")
        direct.far_ends[0].close()
        client.far.shutdown(socket.SHUT_WR)
        await finish(task)
    assert served.ledger.health["direct", "test", Role.API].streak.weight == 0


async def test_no_answer_before_the_race_is_won(client: FakeClient) -> None:
    """The 200 is sent when a route is established and not before: the client's TLS timer starts with it."""
    gate = Gate()
    served = serving({"direct": gate})
    task = start(served, CONNECT, client)
    await gate.begun.wait()
    with pytest.raises(BlockingIOError):
        client.far.recv(1)
    (tunnel,) = served.ledger.tunnels.values()
    assert (tunnel.phase, tunnel.route) == (TunnelPhase.RACING, None)
    gate.open.set()
    assert await client.read(len(ESTABLISHED)) == ESTABLISHED
    client.far.shutdown(socket.SHUT_WR)
    await finish(task)


async def test_failover(client: FakeClient) -> None:
    """A tunnel over the second route says in its line what became of the first."""
    with FakeDialer(REFUSED) as direct, FakeDialer() as vpn, capture_logs() as logs:
        served = serving({"direct": direct, "vpn": vpn})
        task = start(served, CONNECT, client)
        assert await client.read(len(ESTABLISHED)) == ESTABLISHED
        client.far.sendall(b"SSH-2.0-client\r\n")
        client.far.shutdown(socket.SHUT_WR)
        vpn.far_ends[0].shutdown(socket.SHUT_WR)
        await finish(task)
    assert [(line["route"], line["why"]) for line in logs] == [("vpn", "direct: refused; then vpn")]
    assert served.ledger.totals().failovers["connect"] == 1
    assert served.ledger.health["direct", "test", Role.API].failures == 1


async def test_no_route(client: FakeClient) -> None:
    """When every route failed the answer says how each did, and what to run next."""
    with FakeDialer(REFUSED) as direct, FakeDialer(REFUSED) as vpn, capture_logs() as logs:
        served = serving({"direct": direct, "vpn": vpn})
        status, reason = await refusal(served, CONNECT, client)
    assert status == 502
    assert reason == (
        "towline: no route to registry.test (direct: refused; vpn: refused) - towline explain registry.test"
    )
    assert [(line["event"], line["log_level"], line["attempts"]) for line in logs] == [
        ("no_route", "warning", ["direct: refused", "vpn: refused"])
    ]
    assert served.ledger.totals().refused == {"no_route": 1}
    assert served.ledger.tunnels == {}


async def test_all_routes_time_out(client: FakeClient) -> None:
    """When every route timed out the answer is 504, by the budget of the target's role."""
    with FakeDialer(Hang()) as direct:
        served = serving({"direct": direct}, failover=FailoverPolicy(budget_api=0.05))
        status, reason = await refusal(served, CONNECT, client)
    assert (status, "direct: timeout" in reason) == (504, True)


async def test_refused_head(client: FakeClient) -> None:
    """A head that was refused is answered with its status and reason, counted by its code, and nothing is dialled."""
    with pytest.raises(Refused) as caught:
        HeadReader().feed(b"CONNECT ci:geheim@registry.test:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    with FakeDialer() as direct, capture_logs() as logs:
        served = serving({"direct": direct})
        status, reason = await refusal(served, caught.value, client)
        assert direct.targets == []
    assert (status, reason) == (400, "towline: user information is not allowed in a target")
    assert served.ledger.totals().refused == {"bad_target": 1}
    assert [(line["event"], line["code"], line["status"], line["why"]) for line in logs] == [
        ("refused", "bad_target", 400, reason)
    ]
    assert "geheim" not in str(logs)


async def test_refused_target(client: FakeClient) -> None:
    """A target that the guard refuses is answered as the guard says; a long reason is cut to one line."""

    def rank(target: Target) -> Ranking:
        raise Refused(HTTPStatus.FORBIDDEN, "port", f"towline: not {target.port}\r\nX: \u00e9 " + "x" * 300)

    served = serving({}, rank=rank)
    status, reason = await refusal(served, CONNECT, client)
    assert status == 403
    assert reason.startswith("towline: not 443??X: ? xxx")
    assert reason.endswith("...")
    assert served.ledger.totals().refused == {"port": 1}


@pytest.mark.parametrize(
    ("ip", "allowed"),
    [("127.0.0.1", True), ("::1", True), ("10.0.0.7", False), ("2001:db8::1", False)],
)
async def test_access(ip: str, allowed: bool) -> None:
    """Only clients from the networks of access.clients are served."""
    client = FakeClient(ip=ip)
    with client.far, FakeDialer(REFUSED) as direct:
        served = serving({"direct": direct})
        status, reason = await refusal(served, CONNECT, client)
        assert (status == 502) == allowed
        if not allowed:
            assert (status, reason) == (403, f"towline: {ip} is not in access.clients")
            assert served.ledger.totals().refused == {"client": 1}
            assert direct.targets == []


async def test_who_does_not_log_in_is_asked_to(client: FakeClient) -> None:
    """A 407 with a challenge, after which the connection is closed (RFC 9110 15.5.8, RFC 9931)."""
    served = serving({}, access=Access(AccessPolicy(users={})))
    await finish(start(served, CONNECT, client))
    data = await client.read_all()
    assert data.startswith(b"HTTP/1.1 407 towline: a name and password are asked for (access.users_file)\r\n")
    assert b'\r\nProxy-Authenticate: Basic realm="towline", charset="UTF-8"\r\n' in data
    assert served.ledger.totals().refused == {"users": 1}
    served.access.close()


async def test_a_request_that_has_been_here_before_is_refused(client: FakeClient) -> None:
    """Its Via has our own name: no dial is made, and the words say what is wrong."""
    with FakeDialer(REFUSED) as direct:
        served = serving({"direct": direct})
        status, reason = await refusal(served, replace(CONNECT, via=("squid.corp.test", "cafe")), client)
        assert (status, reason) == (
            508,
            "towline: this request has been here before: two proxies are each other's route",
        )
        assert served.ledger.totals().refused == {"loop": 1}
        assert direct.targets == []


async def test_tunnel_limit_of_one_client() -> None:
    """One client that has all that it may have is refused, and another is served."""
    gate = Gate()
    served = serving({"direct": gate}, limits=LimitsPolicy(tunnels_per_client=1, linger=0.2))
    first, second, other = FakeClient(), FakeClient(), FakeClient(ip="127.0.0.2")
    with first.far, second.far, other.far:
        tasks = [start(served, CONNECT, first)]
        await gate.begun.wait()
        status, reason = await refusal(served, CONNECT, second)
        message = "towline: 1 tunnels of 127.0.0.1 are open, the limit (limits.tunnels_per_client)"
        assert (status, reason) == (503, message)
        assert served.ledger.totals().refused == {"tunnels_per_client": 1}
        tasks.append(start(served, CONNECT, other))
        gate.open.set()
        assert await other.read(len(ESTABLISHED)) == ESTABLISHED
        assert await first.read(len(ESTABLISHED)) == ESTABLISHED
    for task in tasks:
        await finish(task)


async def test_refusals_for_want_of_room_are_logged_once_a_second() -> None:
    """Every one is counted, and the log says how many it left out."""
    served = serving({}, limits=LimitsPolicy(heads=7))
    with capture_logs() as logs:
        for _ in range(5):
            served.turned_away("192.0.2.9")
    assert served.ledger.totals().refused == {"heads": 5}
    (line,) = logs
    assert (line["event"], line["code"], line["client"], line["untold_before"]) == ("refused", "heads", "192.0.2.9", 0)
    assert line["why"] == "towline: 7 connections wait, the limit (limits.heads)"


async def test_tunnel_limit(client: FakeClient) -> None:
    """Beyond the limit requests are refused; racing ones count, and there is room again when one has ended."""
    gate = Gate()
    served = serving({"direct": gate}, limits=LimitsPolicy(tunnels=1, linger=0.2))
    first = FakeClient()
    with first.far:
        task = start(served, CONNECT, first)
        await gate.begun.wait()
        status, reason = await refusal(served, CONNECT, client)
        assert (status, reason) == (503, "towline: 1 tunnels are open, the limit (limits.tunnels)")
        assert served.ledger.totals().refused == {"tunnels": 1}
        assert first.holds_a_tunnel
        assert not client.holds_a_tunnel
        first.leave()
        await finish(task)
    second = FakeClient()
    with second.far:
        gate.open.set()
        task = start(served, CONNECT, second)
        assert await second.read(len(ESTABLISHED)) == ESTABLISHED
    await finish(task)


async def test_client_leaves_during_the_race(client: FakeClient) -> None:
    """A client that leaves before it is answered ends the race; nothing is sent, counted as refused, or blamed."""
    gate = Gate()
    with capture_logs() as logs:
        served = serving({"direct": gate})
        task = start(served, CONNECT, client)
        await gate.begun.wait()
        client.leave()
        await finish(task)
    assert gate.cancelled
    assert await client.read_all() == b""
    assert [(line["event"], line["client"], line["target"]) for line in logs] == [
        ("client_left", "127.0.0.1:50000", "registry.test:443")
    ]
    assert served.ledger.totals().refused == {}
    assert served.ledger.health == {}
    assert served.ledger.tunnels == {}


async def test_client_has_left_before(client: FakeClient) -> None:
    """For a client that has left already no dial gets further than its first step."""
    client.leave()
    with FakeDialer(Hang()) as direct, capture_logs() as logs:
        await finish(start(serving({"direct": direct}), CONNECT, client))
        assert direct.far_ends == []
    assert [line["event"] for line in logs] == ["client_left"]


async def test_client_leaves_before_it_is_detached(client: FakeClient) -> None:
    """A client that leaves between the win and the hand-off ends the request; the upstream connection is closed."""
    client.detach_error = ClientLeft()
    with FakeDialer() as direct, capture_logs() as logs:
        served = serving({"direct": direct})
        await finish(start(served, CONNECT, client))
        assert direct.far_ends[0].recv(1) == b""
    assert [line["event"] for line in logs] == ["client_left"]
    assert served.ledger.tunnels == {}


async def test_failure_of_the_hand_off(client: FakeClient) -> None:
    """An unexpected failure goes to the caller, with both connections closed and the tunnel's record ended."""
    client.detach_error = RuntimeError("the contract is broken")
    with FakeDialer() as direct:
        served = serving({"direct": direct})
        with pytest.raises(RuntimeError, match="contract"):
            await finish(start(served, CONNECT, client))
        assert direct.far_ends[0].recv(1) == b""
    assert client.near.fileno() == -1
    assert served.ledger.tunnels == {}


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_around_the_win(client: FakeClient, turns: int) -> None:
    """Cancelled some turns of the loop before, in or after the turn in which the race is won, a request closes all."""
    gate = Gate()
    served = serving({"direct": gate})
    task = start(served, CONNECT, client)
    await gate.begun.wait()
    gate.open.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finish(task)
    assert client.near.fileno() == -1
    assert served.ledger.tunnels == {}
    assert served.relays == {}


async def test_cancelled_tunnel(client: FakeClient) -> None:
    """A cancelled tunnel closes both connections and ends its record."""
    with FakeDialer() as direct:
        served = serving({"direct": direct})
        task = start(served, CONNECT, client)
        await client.read(len(ESTABLISHED))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await finish(task)
        assert await receive(direct.far_ends[0], 1) == b""
    assert await client.read_all() == b""
    assert served.ledger.tunnels == {}
    assert served.relays == {}


async def test_wait_until_idle(client: FakeClient) -> None:
    """A drain waits for the last of the open tunnels, at most as long as it was told, and for nothing where none is."""
    loop = asyncio.get_running_loop()
    gate, other = Gate(), FakeClient()
    served = serving({"direct": gate})
    await served.wait_until_idle(BEFORE_A_TIMEOUT)
    with other.far:
        tasks = [start(served, CONNECT, client), start(served, CONNECT, other)]
        await gate.begun.wait()
        began = loop.time()
        await served.wait_until_idle(0.05)
        assert 0.04 < loop.time() - began < BEFORE_A_TIMEOUT / 2
        waiting = asyncio.create_task(served.wait_until_idle(BEFORE_A_TIMEOUT))
        client.leave()
        await finish(tasks[0])
        assert not waiting.done()
        other.leave()
        await asyncio.wait([waiting], timeout=BEFORE_A_TIMEOUT)
        assert waiting.done()
        assert served.ledger.tunnels == {}
        await finish(tasks[1])
