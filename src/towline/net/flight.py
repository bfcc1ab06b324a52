"""The first flight: from the 200 to the server's first byte, when a route can still be changed unseen.

The client has its 200 and sends a ClientHello. A server that saw one has processed nothing, so until the first byte
comes back the same bytes may be sent again over another route, also while the first is still silent: of several
ServerHellos one is passed on, and the others' connections are closed.

That makes the first flight a race like the one before the 200 (racer.py), over dialers that are done only when the
target has answered: `FlightDialer`. Its rules, budget and outcomes are those of core/race.py; the pause before the next
route is how long this one usually takes to answer.

    client ── ClientHello ──▶ route A   silent ...
                        └───▶ route B   ServerHello ──▶ client          B is pinned, A closed
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

from towline.core.policy import FailoverPolicy
from towline.core.tls import Answer, Flight, judge_answer, offers_http2, read_flight
from towline.errors import ClientLeft, DialError
from towline.net.dialer import Dialed, Dialer
from towline.net.edge import closed, dialing
from towline.net.racer import Won, race, unless_left
from towline.net.wire import RECEIVE_SIZE, receive, send_all
from towline.types import Attempt, Blame, OutcomeKind, Phase, Ranking, Target

type Told = Callable[[str, Target, Dialed, DialError], object]
"""Told by the route, the target, where it was looked for, and what is wrong with the answer."""

_WRONG_ANSWERS = {OutcomeKind.NOT_TLS, OutcomeKind.TLS}

MAX_FLIGHT = 64 * 1024  # bytes kept for replay; a ClientHello with post-quantum key shares has under 2 KiB
HUSH = 0.05  # seconds in which the server is not listened to: nearly all protocols leave the first word to the client
GREETED = 0.5  # seconds that a client gets to begin a ClientHello after the server has spoken; it takes some ms


@dataclass(frozen=True, slots=True)
class Flown:
    """A first flight that a route has answered, or that must not be raced: that route's connection is pinned."""

    route: str
    dialed: Dialed
    """Its `early` bytes belong to the client. The caller's from here on."""
    unsent: bytes
    """Client bytes that the connection has not been sent yet."""
    attempts: tuple[Attempt, ...] = ()
    """The lines of the flight; none where nothing was raced."""
    tls: bool = False
    """The client began with a ClientHello: an end of its tunnel can be told from a cut."""
    http2: bool = False
    """It offered HTTP/2."""


async def fly(
    client: socket.socket,
    early: bytes,
    won: Won,
    ranking: Ranking,
    dialers: Mapping[str, Dialer],
    policy: FailoverPolicy,
    wrong_answer: Told,
) -> Flown:
    """Take the first flight off `client` (and `early`, read before) and race it, first over what `won`.

    `wrong_answer` is told of what answered it with something that the target does not say.

    The connection that `won` is closed or handed on in any case. Raises ClientLeft, and NoRoute where no route answers
    within the budget: the client's own TLS timer ends soon after.
    """
    try:  # a client that opens a tunnel and says nothing does not keep it
        flight, kind = await _read(client, early, won.dialed, patience=policy.budget_blob)
    except BaseException:
        won.dialed.close()
        raise
    if kind is not Flight.HELLO:
        return Flown(won.route, won.dialed, flight, tls=kind is Flight.EARLY_DATA, http2=offers_http2(flight))
    told = {route: partial(wrong_answer, route) for route in dialers}
    first = FlightDialer(dialers[won.route], flight, told[won.route], established=won.dialed)
    others = {route: FlightDialer(dialer, flight, told[route]) for route, dialer in dialers.items()}
    lines = others | {won.route: first}
    budget = policy.budget_flight if len(ranking.candidates) > 1 else policy.budget_blob
    policy = replace(policy, dial_timeout=budget)
    try:
        with _Departure(client) as departure:
            racing = race(_in_flight(ranking, won.route), lines, policy, budget=budget)
            answered = await unless_left(racing, departure.when_left)
    finally:
        first.close()
    return Flown(answered.route, answered.dialed, b"", answered.attempts, tls=True, http2=offers_http2(flight))


def _in_flight(ranking: Ranking, first: str) -> Ranking:
    """The ranking of the flight: what won comes first, and pauses are as long as answers usually take."""
    candidates = sorted(ranking.candidates, key=lambda candidate: candidate.route != first)
    lines = tuple(replace(candidate, attempt_delay=candidate.patience) for candidate in candidates)
    return replace(ranking, candidates=lines)


async def _read(client: socket.socket, early: bytes, dialed: Dialed, *, patience: float) -> tuple[bytes, Flight]:
    """What the client sends first, as far as it can be replayed: until it is a whole ClientHello or known to be none.

    Raises ClientLeft where it closes without a word, or says none for `patience` seconds. What a server says before is
    kept in `dialed.early`; where the client goes on to wait, theirs is a protocol in which the server speaks first, and
    there is nothing to replay.
    """
    flight = early
    now = asyncio.get_running_loop().time
    deadline = now() + patience
    while (kind := read_flight(flight)) is Flight.INCOMPLETE and len(flight) < MAX_FLIGHT:
        greeted = bool(dialed.early) and not flight  # the server has spoken
        try:
            data = await _next_bytes(client, dialed, GREETED if greeted else deadline - now())
        except TimeoutError:
            if greeted:
                return flight, Flight.OTHER
            raise ClientLeft from None
        if data == b"":
            if not flight:
                raise ClientLeft
            return flight, Flight.OTHER
        flight += data or b""
    return flight, kind


async def _next_bytes(client: socket.socket, dialed: Dialed, patience: float) -> bytes | None:
    """The client's next bytes (b"" at its end), or None where the server's come before. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    watched = [client]
    loop.add_reader(client, ready.set)

    def watch_server() -> None:
        watched.append(dialed.sock)
        loop.add_reader(dialed.sock, ready.set)
        ready.set()

    hush = None if dialed.early else loop.call_later(HUSH, watch_server)
    try:
        async with asyncio.timeout(patience):
            while True:
                await ready.wait()
                ready.clear()
                if (data := _read_now(client)) is not None:
                    return data
                if dialed.sock in watched and (spoken := _read_now(dialed.sock)) is not None:
                    if spoken:
                        dialed.early += spoken
                        return None
                    # It has closed: the flight, when it is whole, finds that out and goes over the next route.
                    watched.remove(dialed.sock)
                    loop.remove_reader(dialed.sock)
    finally:
        if hush is not None:
            hush.cancel()
        for sock in watched:
            loop.remove_reader(sock)


def _read_now(sock: socket.socket) -> bytes | None:
    """What can be read without waiting: b"" at the end, which an error is too; None where there is nothing yet."""
    try:
        return sock.recv(RECEIVE_SIZE)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None
    except OSError:
        return b""


class _Departure:
    """Watches a client that waits for its answer: calls back when it closes. What it sends meanwhile stays unread."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()

    def when_left(self, callback: Callable[[], object]) -> None:
        """Call back when the client closes."""
        self._loop.add_reader(self._client, self._look, callback)

    def _look(self, callback: Callable[[], object]) -> None:
        try:
            left = not self._client.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            left = True
        self._loop.remove_reader(self._client)
        if left:
            callback()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._client)


class FlightDialer:
    """A dialer that is done when its target has answered the first flight; the answer is in `Dialed.early`."""

    def __init__(
        self,
        dialer: Dialer,
        hello: bytes,
        wrong_answer: Callable[[Target, Dialed, DialError], object],
        established: Dialed | None = None,
    ) -> None:
        """`established` is a connection that stands already and saves the dial; it is the dialer's from here on."""
        self._dialer = dialer
        self._hello = hello
        self._wrong_answer = wrong_answer
        self._established = established

    async def dial(self, target: Target, *, deadline: float) -> Dialed:
        """Reach the target, send the flight and wait for a plausible answer; see Dialer."""
        dialed, self._established = self._established, None
        if dialed is None:
            dialed = await self._dialer.dial(target, deadline=deadline)
        try:
            async with dialing(deadline, to="target") as progress:
                progress.phase = Phase.FIRST_FLIGHT
                dialed.early = await _plausible_answer(dialed, self._hello)
        except BaseException as error:
            dialed.close()
            if isinstance(error, DialError) and error.kind in _WRONG_ANSWERS:
                self._wrong_answer(target, dialed, error)
            raise
        return dialed

    def close(self) -> None:
        """Close an established connection that no dial has used."""
        if self._established is not None:
            self._established.close()


async def _plausible_answer(dialed: Dialed, hello: bytes) -> bytes:
    """The server's first bytes. Raises DialError where they are none that a TLS server sends, and OSError."""
    if dialed.early:  # a captive portal's page behind its proxy's 200
        raise _not_tls("spoke before the ClientHello, as no TLS server does")
    await send_all(dialed.sock, hello)
    received = b""
    while True:
        data = await receive(dialed.sock)
        if not data:
            raise closed(Phase.FIRST_FLIGHT)
        received += data
        match judge_answer(received):
            case Answer.PLAUSIBLE:
                return received
            case Answer.FATAL_ALERT:
                raise DialError(OutcomeKind.TLS, Phase.FIRST_FLIGHT, Blame.ROUTE, f"TLS alert {received[6]}")
            case Answer.NOT_TLS:
                raise _not_tls("answered the ClientHello with something that is no TLS")
            case Answer.INCOMPLETE:
                pass


def _not_tls(text: str) -> DialError:
    return DialError(OutcomeKind.NOT_TLS, Phase.FIRST_FLIGHT, Blame.ROUTE, text)
