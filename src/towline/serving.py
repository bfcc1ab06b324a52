"""The life of one request, from its head to the end of its tunnel. No mitmproxy here: the client is a Protocol.

    Request -> classify -> guard -> rank -> race -> 200 -> first flight -> relay -> one log line, the ledger
                                            race -> the forwarded head  -> relay -> ...

A request ends in exactly one of: a tunnel (log event `tunnel`), a refusal (`refused`: policy, grammar or limits forbid
it), no route (`no_route`), no answer to the first flight over any route (`no_answer`), or a client that left before it
was answered (`client_left`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Protocol

import structlog

from towline.access import CHALLENGE, Access
from towline.core.head import Request
from towline.core.ledger import Ledger, Tunnel
from towline.core.pacing import Pacing
from towline.core.policy import FailoverPolicy, LimitsPolicy
from towline.core.seldom import Seldom
from towline.errors import ClientLeft, NoRoute, Refused
from towline.net.dialer import Dialer
from towline.net.flight import Flown, fly
from towline.net.hop import VIA
from towline.net.pipes import PipePool
from towline.net.racer import Won, race, unless_left
from towline.net.relay import Relay, RelayEnd, RelayLimits
from towline.net.sockets import tune_client
from towline.net.wire import hang_up
from towline.types import Address, Classification, IPAddress, Ranking, Target, TunnelPhase
from towline.verifying import Verifying
from towline.watched import Watched
from towline.watching import Watching

log = structlog.get_logger("towline")

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"  # no fields: RFC 9110 9.3.6 forbids the framing ones


class Client(Protocol):
    """The client's side of a request as it is seen here; proxy/handoff.py has it."""

    ip: IPAddress
    """Where the client comes from."""
    name: str
    """`ip:port` for the log."""
    ends: tuple[Address, Address]
    """The client's address, and ours that it connected to."""

    def entered(self) -> None:
        """It holds a tunnel from here on."""
        ...

    def when_left(self, callback: Callable[[], object]) -> None:
        """Call back once if the client closes before `detach`."""
        ...

    async def answer(self, head: bytes) -> None:
        """Send an answer and keep the connection."""
        ...

    async def refuse(self, answer: bytes) -> None:
        """Send a last answer and close without losing it."""
        ...

    async def detach(self) -> tuple[socket.socket, bytes]:
        """Give up the connection: a descriptor of its own for the relay, and what was read from it and not yet used.

        Raises ClientLeft.
        """
        ...

    def close(self) -> None:
        """Close what is left of the connection."""
        ...


@dataclass(slots=True)
class Serving:
    """Serves requests with what the service composed. One instance per configuration; it holds no request."""

    rank: Callable[[Target], Ranking]
    """Classify, guard and rank; raises Refused."""
    dialers: Mapping[str, Dialer]
    ledger: Ledger
    access: Access
    failover: FailoverPolicy
    limits: LimitsPolicy
    pipes: PipePool | None
    watching: Watching
    verifying: Verifying
    name: str
    """What this process calls itself in Via (core/via.py)."""
    asked: Callable[[Target, Classification], object] = lambda *_: None
    """Called for each request that may be served."""
    pacing: Pacing = field(default_factory=Pacing)
    relays: dict[int, Relay] = field(default_factory=dict)
    """The relay of each open tunnel, by the tunnel's number."""
    _by_client: Counter[IPAddress] = field(default_factory=Counter)
    """Open tunnels by client address."""
    _seldom: Seldom = field(default_factory=Seldom)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever the last open tunnel ends."""

    async def wait_until_idle(self, timeout: float) -> None:
        """Return once no tunnel is open, or after `timeout` seconds."""
        self._idle.clear()
        if self.ledger.tunnels:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._idle.wait()

    def make_haste(self) -> None:
        """Somebody waits for a tunnel: the others move less at a time for a moment."""
        if self.pipes is not None:
            self.pipes.give_way()

    async def serve(self, request: Request | Refused, client: Client) -> None:
        """Serve one request to its end: whatever can be expected to fail is answered and logged here."""
        self.make_haste()
        try:
            if isinstance(request, Refused):
                raise request
            await self._tunnel(request, client)
        except Refused as refused:
            self._note_refusal(refused, client.name)
            await client.refuse(_answer(refused.status, refused.reason))
        except NoRoute as error:
            self.ledger.refuse("no_route")
            attempts = [str(attempt) for attempt in error.attempts]
            log.warning("no_route", client=client.name, target=str(error.target), attempts=attempts, why=str(error))
            await client.refuse(_answer(error.status, error.reason))
        finally:
            client.close()

    def close(self) -> None:
        """Give back what is held for requests, when every tunnel has ended."""
        self.access.close()
        self.watching.close()
        if self.pipes is not None:
            self.pipes.close()

    def turned_away(self, client: str) -> None:
        """A connection had to go that held no tunnel, since too many did (proxy/gate.py)."""
        message = f"towline: {self.limits.heads} connections wait, the limit (limits.heads)"
        self._note_refusal(Refused(HTTPStatus.SERVICE_UNAVAILABLE, "heads", message), client)

    def _note_refusal(self, refused: Refused, client: str) -> None:
        """Count it, and log it; of refusals for want of room or a password, of which floods make many, one a second."""
        self.ledger.refuse(refused.code)
        facts: dict[str, object] = {"code": refused.code, "status": int(refused.status), "why": str(refused)}
        if refused.status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED}:
            untold = self._seldom.tell(refused.code, now=asyncio.get_running_loop().time())
            if untold is None:
                return
            facts["untold_before"] = untold
        log.info("refused", client=client, **facts)

    async def _tunnel(self, request: Request, client: Client) -> None:
        await self.access.check(client.ip, request.credentials)
        self._admit(client)
        if self.name in request.via:
            message = "towline: this request has been here before: two proxies are each other's route"
            raise Refused(HTTPStatus.LOOP_DETECTED, "loop", message)
        VIA.set((*request.via, self.name))
        ranking = self.rank(request.target)
        now = asyncio.get_running_loop().time
        tunnel = self.ledger.open(request.target, client.name, ranking.classification, now=now())
        self.asked(request.target, ranking.classification)
        client.entered()
        self._by_client[client.ip] += 1
        watched = self.watching.opened(tunnel, str(client.ip), client.ends)
        try:
            if watched.past.ended_at is not None:  # a client that was interrupted is back, which may have taught much
                ranking = self.rank(request.target)
            won, ranking = await self._race(ranking, tunnel, client)
            downstream, early = await _take_over(request, client, won)
            with contextlib.suppress(OSError):  # a client that is gone by now is found so by what reads from it
                tune_client(downstream)
            tunnel.phase = TunnelPhase.FIRST_FLIGHT
            flown = await self._fly(request, downstream, early, won, ranking, tunnel)
            if flown is None:
                return
            tunnel.phase = TunnelPhase.RELAYING
            relay = self._relay_for(downstream, flown, watched)
            self.watching.relaying(watched, relay, flown, self.dialers[flown.route])
            end = await self._relay(relay, tunnel)
            _log_tunnel(tunnel, ranking, won, flown, end, seconds=now() - tunnel.opened_at)
        except ClientLeft:
            seconds = round(now() - tunnel.opened_at, 3)
            log.info("client_left", client=client.name, target=str(request.target), seconds=seconds)
        finally:
            self.watching.forget(watched)
            self.ledger.end(tunnel, now=now())
            self._by_client[client.ip] -= 1
            if not self._by_client[client.ip]:  # as many entries as clients that have tunnels
                del self._by_client[client.ip]
            if not self.ledger.tunnels:
                self._idle.set()

    def _admit(self, client: Client) -> None:
        """Raise Refused for a client that there is no room for."""
        if len(self.ledger.tunnels) >= self.limits.tunnels:
            message = f"towline: {self.limits.tunnels} tunnels are open, the limit (limits.tunnels)"
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "tunnels", message)
        if self._by_client[client.ip] >= self.limits.tunnels_per_client:
            number = self.limits.tunnels_per_client
            message = f"towline: {number} tunnels of {client.ip} are open, the limit (limits.tunnels_per_client)"
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "tunnels_per_client", message)

    async def _race(self, ranking: Ranking, tunnel: Tunnel, client: Client) -> tuple[Won, Ranking]:
        """Race while the client waits for it, in as many rounds as core/pacing.py gives; the ranking is the last one's.

        Raises ClientLeft and NoRoute.
        """
        now = asyncio.get_running_loop().time
        deadline = now() + self.failover.budget(tunnel.classification.role)
        rounds = 0
        while True:
            rounds += 1
            racing = race(ranking, self.dialers, self.failover, budget=deadline - now())
            try:
                won = await unless_left(racing, client.when_left)
            except NoRoute as error:
                self.ledger.raced(tunnel, error.attempts, None, now=now())
                left = deadline - now()
                pause = self.pacing.pause(tunnel.target, error.attempts, rounds=rounds, left=left, now=now())
                if pause is None:
                    raise
            else:
                self.make_haste()
                self.ledger.raced(tunnel, won.attempts, won.route, now=now())
                self.verifying.raced(tunnel.target, won.attempts)
                self.pacing.reached(tunnel.target)
                return won, ranking
            await unless_left(asyncio.sleep(pause), client.when_left)
            ranking = self.rank(tunnel.target)

    async def _fly(
        self, request: Request, downstream: socket.socket, early: bytes, won: Won, ranking: Ranking, tunnel: Tunnel
    ) -> Flown | None:
        """Race a tunnel's first flight; what is forwarded may be acted upon and goes out once. Raises ClientLeft.

        None where no route answered: the client got FIN, which most of them retry (clients.md A.7).
        """
        now = asyncio.get_running_loop().time
        if not request.is_connect:
            self.ledger.flown(tunnel, (), won.route, now=now())
            return Flown(won.route, won.dialed, request.forward + early)
        try:
            flown = await fly(downstream, early, won, ranking, self.dialers, self.failover, self.verifying.wrong_answer)
        except NoRoute as error:
            self.ledger.flown(tunnel, error.attempts, None, now=now())
            self.ledger.refuse("no_answer")
            attempts = [str(attempt) for attempt in error.attempts]
            log.warning("no_answer", client=tunnel.client, target=str(error.target), attempts=attempts)
            await hang_up(downstream, linger=self.limits.linger)
            return None
        except BaseException:
            downstream.close()
            raise
        self.ledger.flown(tunnel, flown.attempts, flown.route, now=now())
        if flown.attempts:
            self.verifying.answered(flown.route, tunnel.target, flown.dialed)
        return flown

    def _relay_for(self, downstream: socket.socket, flown: Flown, watched: Watched) -> Relay:
        """The relay that owns both ends from here on."""
        return Relay(
            downstream,
            flown.dialed.sock,
            to_upstream=flown.unsent,
            to_client=flown.dialed.early,
            limits=RelayLimits(linger=self.limits.linger, half_closed=self.limits.half_closed),
            pipes=self.pipes,
            on_end=partial(self.watching.ended, watched),
        )

    async def _relay(self, relay: Relay, tunnel: Tunnel) -> RelayEnd:
        tunnel.flow = relay
        self.relays[tunnel.id] = relay
        try:
            return await relay.run()
        finally:
            del self.relays[tunnel.id]


async def _take_over(request: Request, client: Client, won: Won) -> tuple[socket.socket, bytes]:
    """Answer the client and take its connection over, with what it has sent since. Raises ClientLeft."""
    try:
        if request.is_connect:
            await client.answer(ESTABLISHED)
        return await client.detach()
    except BaseException:
        won.dialed.close()
        raise


def _answer(status: HTTPStatus, reason: str) -> bytes:
    """A final answer: the reason phrase is what Docker prints (clients.md A.7), the body what a browser shows."""
    body = f"{reason}\n".encode("ascii")
    asked = f"Proxy-Authenticate: {CHALLENGE}\r\n" if status is HTTPStatus.PROXY_AUTHENTICATION_REQUIRED else ""
    head = (
        f"HTTP/1.1 {status.value} {reason}\r\n{asked}"
        f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


def _log_tunnel(tunnel: Tunnel, ranking: Ranking, won: Won, flown: Flown, end: RelayEnd, *, seconds: float) -> None:
    """The one line of a tunnel; `why` is the ranking's reason, or what failed before the route that served."""
    failed = [str(attempt) for attempt in (*won.attempts, *flown.attempts) if not attempt.outcome.ok]
    log.info(
        "tunnel",
        client=tunnel.client,
        target=str(tunnel.target),
        registry=tunnel.classification.registry,
        role=tunnel.classification.role.value,
        route=flown.route,
        why=f"{'; '.join(failed)}; then {flown.route}" if failed else ranking.why_of(flown.route),
        peer=flown.dialed.peer,
        bytes_in=end.bytes_in,
        bytes_out=end.bytes_out,
        seconds=round(seconds, 3),
        end=end.reason,
    )
