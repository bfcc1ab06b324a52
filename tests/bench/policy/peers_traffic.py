"""Peers that choose by what their tunnels bring."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.policy.clock import Process
from tests.bench.policy.peer import Peer
from tests.bench.policy.peers_probing import Probing
from tests.bench.policy.trace import Request
from tests.bench.policy.world import World

from towline.types import Role


@dataclass(slots=True)
class Score:
    """A moving average in which what is older weighs less by time."""

    half_life: float
    value: float = 0.0
    weight: float = 0.0
    at: float = 0.0

    def add(self, sample: float, *, now: float) -> None:
        """One more sample, which weighs 1 now."""
        self.weight *= 0.5 ** ((now - self.at) / self.half_life)
        self.value = (self.value * self.weight + sample) / (self.weight + 1)
        self.weight += 1
        self.at = now


class Surge(Probing):
    """Surge's Smart Group: the time until the first response of real connections, and 50 ms for each 1 % of loss.

    From its manual; it is closed. Scores are time-weighted, kept for each site and for each route over all sites (which
    counts where the site has none); a HEAD test feeds the latter. Those near the best are a preferred set, in which the
    route stays; the others are a list for retries that the client does not see. A connection that dies before its first
    byte sharply worsens the score. What the manual leaves open is ours: half-lives, how near is near, 5 s for a dial
    (its test-timeout), what such a death counts as.
    """

    name = "surge first byte and loss"
    dial_timeout = 5.0
    interval = 600.0
    timeout = 5.0
    half_life = 300.0
    loss_penalty = 5.0  # seconds for a loss of 1
    death = 10.0
    near = 1.2

    def begin(self, world: World) -> None:
        """Nothing is known."""
        self._routes: dict[str, Score] = {}
        self._sites: dict[tuple[str, str, Role], Score] = {}
        self._used: dict[tuple[str, Role], str] = {}
        super().begin(world)

    def probed(self, route: str, seconds: float | None) -> None:
        """A test feeds the same score."""
        self._note(self._routes, route, self.death if seconds is None else seconds)

    def _note[K](self, scores: dict[K, Score], key: K, seconds: float) -> None:
        scores.setdefault(key, Score(self.half_life)).add(seconds, now=self.world.clock.now)

    def _learn(self, route: str, request: Request, seconds: float) -> None:
        self._note(self._routes, route, seconds)
        self._note(self._sites, (route, request.registry, request.role), seconds)

    def answered(self, route: str, request: Request, seconds: float) -> None:
        """The first response, with the loss that the kernel tells."""
        state = self.world.to(route, request).at(self.world.clock.now)
        self._learn(route, request, seconds + self.loss_penalty * (state.loss if state else 0.0))

    def unanswered(self, route: str, request: Request) -> None:
        """It died before any data."""
        self._learn(route, request, self.death)

    def dial_failed(self, route: str, request: Request) -> None:
        """The same."""
        self._learn(route, request, self.death)

    def _score(self, route: str, request: Request) -> float:
        score = self._sites.get((route, request.registry, request.role)) or self._routes.get(route)
        return score.value if score else 0.0

    def dial(self, request: Request, left: int, until: float) -> Process[str | None]:
        """The preferred one, then the others, best first."""
        for route in self._ordered(request):
            if (dialed := (yield from self.try_route(route, request, until))) is not None:
                self._used[request.registry, request.role] = dialed
                return dialed
        return None

    def _ordered(self, request: Request) -> list[str]:
        ordered = sorted(self.world.routes, key=lambda route: self._score(route, request))
        used = self._used.get((request.registry, request.role))
        if used is not None and self._score(used, request) <= self.near * self._score(ordered[0], request):
            ordered.sort(key=lambda route: route != used)
        return ordered


class Bandit(Peer):
    """Lantern's bandit (flashlight/bandit/bandit.go): epsilon-greedy, 0.1, by the throughput of each tunnel.

    The reward is what a tunnel has received in its first 6 s, as a share of 125 kB/s, and 0 for a failed dial, after
    which another arm is selected, at most as often as there are arms. Rewards are averaged for each arm, of all targets
    alike. It probes nothing. A dial has 10 s, which is ours.
    """

    name = "lantern bandit"
    dial_timeout = 10.0
    epsilon = 0.1
    sampled = 6.0
    top_rate = 125_000.0

    def begin(self, world: World) -> None:
        """No arm was tried."""
        super().begin(world)
        self._rewards = dict.fromkeys(world.routes, 0.0)
        self._pulls = dict.fromkeys(world.routes, 0)

    def choose(self, request: Request, left: int) -> str:
        """The best arm, or now and then any."""
        if self.world.rng.random() > self.epsilon:
            return max(self.world.routes, key=lambda route: self._rewards[route])
        return self.world.rng.choice(self.world.routes)

    def _reward(self, route: str, reward: float) -> None:
        self._pulls[route] += 1
        self._rewards[route] += (reward - self._rewards[route]) / self._pulls[route]

    def dial(self, request: Request, left: int, until: float) -> Process[str | None]:
        """Arm after arm."""
        route = self.choose(request, left)
        for _ in self.world.routes:
            if (dialed := (yield from self.try_route(route, request, until))) is not None:
                return dialed
            self._reward(route, 0.0)
            drawn = [self.choose(request, left) for _ in range(10)]
            route = next((other for other in drawn if other != route), route)
        return None

    def relaying(self, route: str, request: Request, left: int) -> None:
        """Look at it 6 s later."""
        self.world.clock.spawn(self._sample(route, request, left), background=True)

    def unanswered(self, route: str, request: Request) -> None:
        """Nothing came."""
        self._reward(route, 0.0)

    def _sample(self, route: str, request: Request, left: int) -> Process[None]:
        began = self.world.clock.now
        yield began + self.sampled
        body = self.world.to(route, request).body
        received = min(left, body.done_by(began + self.sampled) - body.done_by(began))
        self._reward(route, received / self.sampled / self.top_rate)
