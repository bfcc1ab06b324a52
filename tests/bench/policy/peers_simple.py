"""Peers without any health: they take the routes in turn, by chance, or one after the other."""

from __future__ import annotations

from tests.bench.policy.clock import Process
from tests.bench.policy.peer import Peer
from tests.bench.policy.trace import Request
from tests.bench.policy.world import World


class FirstThatWorks(Peer):
    """The routes in the order of the configuration, each for 5 s, until one connects.

    COW takes its parents so (`connectInOrder`), and outline's smart dialer its strategies at its start. 5 s is what COW
    gives a silent server, and mihomo all of its tries. Nothing is remembered: COW's memory is of hosts that are blocked
    on direct, and no host here is blocked on just one route by what its dials show.
    """

    name = "first that works"
    dial_timeout = 5.0

    def dial(self, request: Request, left: int, until: float) -> Process[str | None]:
        """Try each route once."""
        for route in self.world.routes:
            if (dialed := (yield from self.try_route(route, request, until))) is not None:
                return dialed
        return None


class RoundRobin(Peer):
    """The next route each time: dispatch-proxy, and pproxy's and glider's `rr` where all are taken to be alive.

    No health: a route that swallows SYNs holds its client for as long as the operating system tries, which is longer
    than any client waits (dispatch-proxy#68, #88).
    """

    name = "round robin"

    def begin(self, world: World) -> None:
        """The first is the first."""
        super().begin(world)
        self._next = 0

    def choose(self, request: Request, left: int) -> str:
        """The one after that of the last tunnel."""
        self._next += 1
        return self.world.routes[(self._next - 1) % len(self.world.routes)]


class Randomly(Peer):
    """Any route: proxy.py's `proxy_pool.py` (`random.choice`, "TODO: try another choice"), gost's `random`."""

    name = "random"

    def choose(self, request: Request, left: int) -> str:
        """One of them."""
        return self.world.rng.choice(self.world.routes)
