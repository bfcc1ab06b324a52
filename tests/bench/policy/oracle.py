"""The oracle: a peer that knows the trace, and takes the route over which its client is done first.

It begins each tunnel over the best route and stays there: what a policy can gain by moving in the middle of a transfer,
it does not have. Where no route brings the client to the end, it takes the one that brings most.
"""

from __future__ import annotations

from tests.bench.policy import client
from tests.bench.policy.peer import Peer
from tests.bench.policy.trace import Request


class Oracle(Peer):
    """Knows what each route will do."""

    name = "oracle"

    def choose(self, request: Request, left: int) -> str:
        """The route that is done first."""
        return min(self.world.routes, key=lambda route: self._outlook(route, request, left))

    def _outlook(self, route: str, request: Request, left: int) -> tuple[float, float]:
        """What to expect of a route: bytes that will be missing, and when it ends."""
        now, path = self.world.clock.now, self.world.to(route, request)
        deadline = client.gives_up(request.role, request.t)
        connected = path.connected(now)
        if connected > min(deadline, now + client.CONNECT_LIMIT):
            return left, min(deadline, now + client.CONNECT_LIMIT)
        answered = path.answered(connected)
        if answered > min(deadline, connected + client.HANDSHAKE_LIMIT):
            return left, min(deadline, connected + client.HANDSHAKE_LIMIT)
        done = path.body.finished(answered, left)
        end = min(done, deadline, path.body.stood_still(answered, min(done, deadline), client.SILENCE_LIMIT))
        missing = 0.0 if end == done else left - (path.body.done_by(end) - path.body.done_by(answered))
        return missing, end
