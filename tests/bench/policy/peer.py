"""What all peers have in common: one route is dialled, and what it brings is relayed, whatever that is.

None of them sends a first flight again over another route, or ends a tunnel that stands still: the client waits until
it gives up. A peer says which route it takes (`choose`), how long its dials may last, whether it tries others when one
fails (`dial`), and what it learns from its tunnels and its probes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tests.bench.policy import client
from tests.bench.policy.clock import Process
from tests.bench.policy.trace import Request
from tests.bench.policy.world import World

HEAD_BYTES = 6000
"""What a HEAD over TLS costs, both ways: a handshake with two certificates and a small answer. An estimate."""
GET_BYTES = 1000
"""The same without TLS. An estimate."""


class Peer:
    """A policy that dials, relays, and does no more."""

    name = "peer"
    dial_timeout = math.inf
    """Seconds that a dial may last; infinite: as long as the client waits."""

    def begin(self, world: World) -> None:
        """The run begins."""
        self.world = world

    def choose(self, request: Request, left: int) -> str:
        """The route for a tunnel."""
        raise NotImplementedError

    def network_changed(self, network: str) -> None:
        """Most do nothing."""

    def dialed(self, route: str, request: Request, seconds: float) -> None:
        """A dial was established."""

    def dial_failed(self, route: str, request: Request) -> None:
        """A dial was not established in time."""

    def answered(self, route: str, request: Request, seconds: float) -> None:
        """The first byte came, so long after the tunnel was asked for."""

    def unanswered(self, route: str, request: Request) -> None:
        """The client left before the first byte came."""

    def relaying(self, route: str, request: Request, left: int) -> None:
        """Bytes begin to flow."""

    def dial(self, request: Request, left: int, until: float) -> Process[str | None]:
        """Establish a tunnel while the client waits; None: it is told that there is none."""
        return (yield from self.try_route(self.choose(request, left), request, until))

    def try_route(self, route: str, request: Request, until: float) -> Process[str | None]:
        """One dial over a route."""
        clock = self.world.clock
        began = clock.now
        ends = self.world.to(route, request).connected(began)
        until = min(until, began + self.dial_timeout)
        yield min(ends, until)
        if ends <= until:
            self.dialed(route, request, ends - began)
            return route
        self.dial_failed(route, request)
        return None

    def serve(self, request: Request, left: int, *, deadline: float) -> Process[int]:
        """One tunnel, from its CONNECT to its end; see Policy."""
        clock = self.world.clock
        asked = clock.now
        route = yield from self.dial(request, left, min(deadline, asked + client.CONNECT_LIMIT))
        if route is None:
            return 0
        self.world.used(route, request)
        path = self.world.to(route, request)
        answered = path.answered(clock.now)
        until = min(deadline, clock.now + client.HANDSHAKE_LIMIT)
        yield min(answered, until)
        if answered > until:
            self.unanswered(route, request)
            return 0
        self.answered(route, request, answered - asked)
        self.relaying(route, request, left)
        done = path.body.finished(answered, left)
        end = min(done, deadline, path.body.stood_still(answered, min(done, deadline), client.SILENCE_LIMIT))
        yield end
        return left if end == done else int(path.body.done_by(end) - path.body.done_by(answered))

    def every(self, seconds: float, act: Callable[[], Process[None]]) -> Process[None]:
        """Act now and again after each interval, counted from the end of what was done."""
        while True:
            yield from act()
            yield self.world.clock.now + seconds
