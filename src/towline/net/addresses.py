"""From the addresses of a host to one connected socket: RFC 8305 section 5, the part below a route.

    admitted(...)        the endpoints that the guard lets pass, judged on the very addresses that are dialled next
    connect_first(...)   start with the first; the next after ATTEMPT_DELAY, or at once when one fails; the first that
                         connects wins and the others are closed

There are no tasks: the kernel connects, the loop says when, and one object owns every socket until it hands over the
winner, which it lets go of last.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

from towline.errors import DialError
from towline.net.edge import dial_error
from towline.net.resolve import Endpoint
from towline.net.sockets import open_socket, tune
from towline.types import Blame, IPAddress, OutcomeKind, Phase, RouteSpec, Target

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried beside the ones under way (RFC 8305 section 5, Connection Attempt Delay)."""
MAX_ATTEMPTS = 4
"""Addresses of one dial under way at once: blob hosts have dozens, and other routes race at the same time."""

type Admit = Callable[[Target, IPAddress], str | None]
"""The guard: why this address of this target may not be dialled, or None where it may."""

_TELLING = (
    OutcomeKind.REFUSED,
    OutcomeKind.RESET,
    OutcomeKind.TIMEOUT,
    OutcomeKind.LOCAL,
    OutcomeKind.UNREACHABLE,  # last: on a machine without IPv6 every IPv6 address ends so
)
"""Which of several failures the reader learns most from: one that came from afar before one that never left."""


def admitted(target: Target, endpoints: Sequence[Endpoint], admit: Admit) -> list[Endpoint]:
    """The endpoints of `target` that may be dialled. Raises DialError with the guard's text where none may."""
    allowed: list[Endpoint] = []
    refusals: list[str] = []
    for endpoint in endpoints:
        if (refusal := admit(target, endpoint.ip)) is None:
            allowed.append(endpoint)
        else:
            refusals.append(refusal)
    if not allowed:
        detail = refusals[0]
        raise DialError(OutcomeKind.DENIED, Phase.RESOLVE, Blame.TARGET, detail)
    return allowed


def check_literal(target: Target, admit: Admit) -> None:
    """Let a target that is an address pass the guard before it is sent to a proxy. Raises DialError."""
    if target.ip is not None and (refusal := admit(target, target.ip)) is not None:
        raise DialError(OutcomeKind.DENIED, Phase.RESOLVE, Blame.TARGET, refusal)


async def connect_first(endpoints: Sequence[Endpoint], spec: RouteSpec) -> tuple[socket.socket, Endpoint]:
    """Connect to whichever of `endpoints` answers first, leaving by interface, source and mark of `spec`.

    Returns a tuned, non-blocking socket, the caller's from here on, and the endpoint it is connected to. Raises
    DialError with the most telling failure when all have failed; it sets no deadline of its own.
    """
    usable = [e for e in endpoints if spec.source is None or e.ip.version == spec.source.version]
    if not usable:
        detail = f"no address of the family of source {spec.source}"
        raise DialError(OutcomeKind.UNREACHABLE, Phase.CONNECT, Blame.ROUTE, detail)
    return await _AddressRace(usable, spec).run()


class _AddressRace:
    """The connection attempts of one dial."""

    def __init__(self, endpoints: Sequence[Endpoint], spec: RouteSpec) -> None:
        self._loop = asyncio.get_running_loop()
        self._spec = spec
        self._waiting = deque(endpoints)
        self._attempts: dict[socket.socket, Endpoint] = {}
        self._failures: list[DialError] = []
        self._ended: asyncio.Future[socket.socket | None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> tuple[socket.socket, Endpoint]:
        try:
            self._advance()
            sock = await self._ended
            if sock is None:
                raise self._most_telling_failure()
            tune(sock)
            return sock, self._attempts.pop(sock)
        finally:
            self._stop_timer()
            for sock in self._attempts:
                self._loop.remove_writer(sock)
                sock.close()

    def _advance(self) -> None:
        """Start the next address, passing over those that fail on the spot, and set the time for the one after it."""
        self._stop_timer()
        while self._waiting and len(self._attempts) < MAX_ATTEMPTS:
            if self._start(self._waiting.popleft()):
                if self._waiting:
                    self._timer = self._loop.call_later(ATTEMPT_DELAY, self._advance)
                return
        if not self._attempts:
            self._ended.set_result(None)

    def _start(self, endpoint: Endpoint) -> bool:
        """Begin to connect; False where that has failed already."""
        try:
            sock = open_socket(endpoint.family, self._spec)
        except DialError as error:
            self._failures.append(error)
            return False
        except OSError as error:
            self._failures.append(dial_error(error, Phase.CONNECT))
            return False
        self._attempts[sock] = endpoint
        code = sock.connect_ex(endpoint.sockaddr)
        if code in {0, errno.EINPROGRESS}:
            self._loop.add_writer(sock, self._writable, sock)
            return True
        self._fail(sock, code)
        return False

    def _writable(self, sock: socket.socket) -> None:
        """The kernel has finished with `sock`: connected, or SO_ERROR says why not (connect(2), EINPROGRESS)."""
        self._loop.remove_writer(sock)
        if self._ended.done():
            return
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0:
            self._ended.set_result(sock)
        else:
            self._fail(sock, code)
            self._advance()

    def _fail(self, sock: socket.socket, code: int) -> None:
        del self._attempts[sock]
        sock.close()
        self._failures.append(dial_error(OSError(code, os.strerror(code)), Phase.CONNECT))

    def _most_telling_failure(self) -> DialError:
        first = min(self._failures, key=lambda failure: _TELLING.index(failure.kind))
        if (count := len(self._failures)) == 1:
            return first
        return DialError(first.kind, first.phase, first.blame, f"{first.detail} ({count} addresses)")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
