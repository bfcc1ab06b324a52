"""Two that know the trace: one that knows every moment of it, and one that knows all but the noise.

Neither can be had. The first is what all others are measured by. The second shows how much of the way to it is noise
that nobody foresees: where routes only scatter, no policy is expected to come closer than this.
"""

from __future__ import annotations

from collections import defaultdict

from tests.bench.policy import client
from tests.bench.policy.peer import Peer
from tests.bench.policy.trace import Request
from tests.bench.policy.world import World

from towline.types import Role


class Oracle(Peer):
    """Takes the route over which its client will be done first.

    It begins each tunnel over the best route and stays there: what a policy can gain by moving in the middle of a
    transfer, it does not have. Where no route brings the client to the end, it takes the one that brings most.
    """

    name = "oracle"

    def choose(self, request: Request, left: int) -> str:
        """The route that is done first."""
        return min(self.world.routes, key=lambda route: self.outlook(route, request, left, self.world.clock.now))

    def outlook(self, route: str, request: Request, left: int, now: float) -> tuple[float, float]:
        """What to expect of a tunnel that begins now: bytes that will be missing, and when it ends."""
        path = self.world.to(route, request)
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


class BestFixed(Oracle):
    """Takes for each registry and role the one route that is the best over the whole trace."""

    name = "best fixed routes"

    def begin(self, world: World) -> None:
        """Find them, by what each would take for all requests."""
        super().begin(world)
        asked: dict[tuple[str, Role], list[Request]] = defaultdict(list)
        for request in world.paths.trace.requests:
            asked[request.registry, request.role].append(request)
        self._routes = {key: self._best(requests) for key, requests in asked.items()}

    def _best(self, requests: list[Request]) -> str:
        return min(self.world.routes, key=lambda route: self._total(route, requests))

    def _total(self, route: str, requests: list[Request]) -> float:
        """Seconds for all of them, with a penalty for each that would not be complete."""
        total = 0.0
        for request in requests:
            missing, end = self.outlook(route, request, request.bytes, request.t)
            total += end - request.t + (client.PENALTY if missing else 0.0)
        return total

    def choose(self, request: Request, left: int) -> str:
        """The one for its registry and role."""
        return self._routes[request.registry, request.role]
