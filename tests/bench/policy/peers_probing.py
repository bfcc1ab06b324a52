"""Peers that choose by the latency of a small page, asked of a test address over every route now and then.

They see what a dial and a first byte take, of an address that is of no registry, and nothing of how much comes after.
Timings are those of the programs' defaults; what is learned from traffic is what peers.md found in each.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import fmean, pstdev

from tests.bench.policy.clock import Process
from tests.bench.policy.peer import GET_BYTES, HEAD_BYTES, Peer
from tests.bench.policy.trace import Request
from tests.bench.policy.world import World


class Probing(Peer):
    """Probes every route; what a result means is for each to say."""

    interval = 60.0
    timeout = 5.0
    cost = HEAD_BYTES

    def begin(self, world: World) -> None:
        """Probe all routes at once and then each interval."""
        super().begin(world)
        self._touched = -math.inf
        world.clock.spawn(self.every(self.interval, self._tick), background=True)

    def _tick(self) -> Process[None]:
        if self.is_due():
            self.probe_all()
        return
        yield

    def is_due(self) -> bool:
        """Whether the probes of this interval are made."""
        return True

    def probe_all(self) -> None:
        """Probe all routes side by side."""
        for route in self.world.routes:
            self.world.clock.spawn(self.probe(route), background=True)

    def probe(self, route: str) -> Process[None]:
        """Probe one route."""
        self.probed(route, (yield from self.world.head(route, timeout=self.timeout, cost=self.cost)))

    def probed(self, route: str, seconds: float | None) -> None:
        """Learn what a probe took; None: it failed."""
        raise NotImplementedError

    def dial(self, request: Request, left: int, until: float) -> Process[str | None]:
        """As all do, and remember that the group is in use."""
        self._touched = self.world.clock.now
        return (yield from super().dial(request, left, until))


class SingBox(Probing):
    """sing-box `urltest`: the least last delay, and another only where it is better by more than 50 ms.

    HEAD every 3 min, 15 s to answer, as long as the group was used in the last 30 min. A dial has 5 s
    (constant/timeout.go). One that fails deletes the route's history and returns the error; nothing is selected anew
    until the next probes are done, so that a dead route stays selected.
    """

    name = "sing-box urltest 50 ms"
    dial_timeout = 5.0
    interval = 180.0
    timeout = 15.0
    tolerance = 0.05
    idle_timeout = 1800.0

    def begin(self, world: World) -> None:
        """Without any history the first route is taken."""
        self._history: dict[str, float] = {}
        self._selected: str | None = None
        self._pending = 0
        super().begin(world)

    def is_due(self) -> bool:
        """The ticker stops where the group is idle."""
        now = self.world.clock.now
        return now - max(self._touched, self.world.begins) < self.idle_timeout

    def probe_all(self) -> None:
        """What they find counts when all are done."""
        self._pending = len(self.world.routes)
        super().probe_all()

    def probed(self, route: str, seconds: float | None) -> None:
        """Keep the last delay only."""
        if seconds is None:
            self._history.pop(route, None)
        else:
            self._history[route] = seconds
        self._pending -= 1
        if not self._pending:
            self._select()

    def _select(self) -> None:
        best = self._selected if self._selected in self._history else None
        for route in self.world.routes:
            delay = self._history.get(route)
            if delay is not None and (best is None or self._history[best] > delay + self.tolerance):
                best = route
        self._selected = best

    def choose(self, request: Request, left: int) -> str:
        """What was selected, blindly."""
        return self._selected or self.world.routes[0]

    def dial_failed(self, route: str, request: Request) -> None:
        """Forget its delay; go on using it."""
        self._history.pop(route, None)


class Mihomo(Probing):
    """What mihomo's groups have in common (healthcheck.go, groupbase.go).

    HEAD every 300 s, 5 s to answer, skipped where the group was not used in the last interval (`lazy`). Up to 10 tries
    of a dial share 5 s: one that is swallowed uses them up on one route. Five failures within 5 s have all routes
    probed. A route counts as alive until a probe says otherwise.
    """

    dial_timeout = 5.0
    interval = 300.0
    timeout = 5.0
    max_failed = 5

    def begin(self, world: World) -> None:
        """All are alive."""
        self._delays: dict[str, float] = {}
        self._dead: set[str] = set()
        self._failures: deque[float] = deque(maxlen=self.max_failed)
        super().begin(world)

    def is_due(self) -> bool:
        """`lazy`; the first probes are made in any case."""
        now = self.world.clock.now
        return now == self.world.begins or now - self._touched <= self.interval

    def probed(self, route: str, seconds: float | None) -> None:
        """The last value decides."""
        self._dead.discard(route)
        self._delays.pop(route, None)
        if seconds is None:
            self._dead.add(route)
        else:
            self._delays[route] = seconds

    def dial_failed(self, route: str, request: Request) -> None:
        """Enough of them in a short time have the routes probed."""
        now = self.world.clock.now
        self._failures.append(now)
        if len(self._failures) == self.max_failed and now - self._failures[0] <= self.timeout:
            self._failures.clear()
            self.probe_all()


class MihomoUrlTest(Mihomo):
    """mihomo `url-test` with `tolerance: 150`: the least last delay; the old one stays unless slower by more than that.

    Its choice is kept for 10 s (urltest.go: fast).
    """

    name = "mihomo url-test 150 ms"
    tolerance = 0.15
    cached = 10.0

    def begin(self, world: World) -> None:
        """Nothing is chosen yet."""
        self._fast: str | None = None
        self._chosen_at = -math.inf
        super().begin(world)

    def choose(self, request: Request, left: int) -> str:
        """The fastest, or the old one."""
        now = self.world.clock.now
        if self._fast is None or now - self._chosen_at >= self.cached:
            self._chosen_at = now
            alive = [route for route in self.world.routes if route not in self._dead] or [self.world.routes[0]]
            best = min(alive, key=self._delay)
            if (
                self._fast is None
                or self._fast in self._dead
                or self._delay(self._fast) > self._delay(best) + self.tolerance
            ):
                self._fast = best
        return self._fast

    def _delay(self, route: str) -> float:
        return self._delays.get(route, 65.535)  # what it takes an unknown one for (0xffff ms)


class MihomoFallback(Mihomo):
    """mihomo `fallback`: the first route in order that is alive, with no damping (#432)."""

    name = "mihomo fallback"

    def choose(self, request: Request, left: int) -> str:
        """The first that is alive, or the first."""
        return next((route for route in self.world.routes if route not in self._dead), self.world.routes[0])


class Glider(Probing):
    """glider `lha`: the least average of the last ten checks among the routes that are enabled (rule/group.go).

    A check is a GET without TLS, 10 s to answer, every 30 s; after a failure each pause is doubled, up to 16 intervals.
    A dial has 3 s. Three failed dials, or one failed check, disable a route until a check succeeds. One try, then 502.
    A tunnel that the far end resets would count as a failure too; no trace says so.
    """

    name = "glider lha"
    dial_timeout = 3.0
    interval = 30.0
    timeout = 10.0
    cost = GET_BYTES
    max_failures = 3
    longest_wait = 16

    def begin(self, world: World) -> None:
        """All are disabled until their first check."""
        self._enabled: set[str] = set()
        self._failures = dict.fromkeys(world.routes, 0)
        self._checks = {route: deque[float](maxlen=10) for route in world.routes}
        self._turn = 0
        Peer.begin(self, world)
        self._touched = -math.inf
        for route in world.routes:
            world.clock.spawn(self._check(route), background=True)

    def _check(self, route: str) -> Process[None]:
        wait = 1
        while True:
            seconds = yield from self.world.head(route, timeout=self.timeout, cost=self.cost)
            self.probed(route, seconds)
            wait = 1 if seconds is not None else min(2 * wait, self.longest_wait)
            yield self.world.clock.now + wait * self.interval

    def probed(self, route: str, seconds: float | None) -> None:
        """A success enables the route and clears its failures."""
        if seconds is None:
            self._enabled.discard(route)
            return
        self._checks[route].append(seconds)
        self._enabled.add(route)
        self._failures[route] = 0

    def choose(self, request: Request, left: int) -> str:
        """The least average; all in turn while none is enabled."""
        enabled = [route for route in self.world.routes if route in self._enabled]
        if enabled:
            return min(enabled, key=lambda route: fmean(self._checks[route]))
        self._turn += 1
        return self.world.routes[(self._turn - 1) % len(self.world.routes)]

    def dial_failed(self, route: str, request: Request) -> None:
        """The third disables."""
        self._failures[route] += 1
        if self._failures[route] == self.max_failures:
            self._enabled.discard(route)


class Dae(Probing):
    """dae `min_moving_avg`: (average + new) / 2, another only where it is better by 50 ms (alive_dialer_set.go).

    HEAD every 30 s, 10 s to answer; a failure counts as so long. A dial has 8 s; the second try is for errors that no
    trace has. Ten failures of traffic in a row kill a route and have it checked. A dead one has to pass checks in a row
    before it is back (recovery_state.go: back-off and confirmation); two here, the number is ours.
    """

    name = "dae moving average 50 ms"
    dial_timeout = 8.0
    interval = 30.0
    timeout = 10.0
    tolerance = 0.05
    max_failures = 10
    confirmations = 2

    def begin(self, world: World) -> None:
        """All are alive, the first is taken."""
        self._average: dict[str, float] = {}
        self._failures = dict.fromkeys(world.routes, 0)
        self._passed = dict.fromkeys(world.routes, self.confirmations)
        self._best: str | None = world.routes[0]
        super().begin(world)

    def probed(self, route: str, seconds: float | None) -> None:
        """Take it into the average, then look for a better one."""
        sample = self.timeout if seconds is None else seconds
        self._average[route] = (self._average.get(route, sample) + sample) / 2
        self._passed[route] = 0 if seconds is None else self._passed[route] + 1
        if seconds is not None:
            self._failures[route] = 0
        self._select()

    def _is_alive(self, route: str) -> bool:
        return self._passed[route] >= self.confirmations

    def _select(self) -> None:
        alive = [route for route in self._average if self._is_alive(route)]
        best = min(alive, key=lambda route: self._average[route], default=None)
        old = self._best if self._best is not None and self._is_alive(self._best) else None
        if old is None or (
            best is not None and old in self._average and self._average[best] <= self._average[old] - self.tolerance
        ):
            self._best = best

    def choose(self, request: Request, left: int) -> str:
        """The best; the first where none is alive."""
        return self._best or self.world.routes[0]

    def dialed(self, route: str, request: Request, seconds: float) -> None:
        """The failures in a row end."""
        self._failures[route] = 0

    def dial_failed(self, route: str, request: Request) -> None:
        """Have it checked; the tenth kills."""
        self._failures[route] += 1
        if self._failures[route] >= self.max_failures:
            self._passed[route] = 0
            self._select()
        self.world.clock.spawn(self.probe(route), background=True)


class Xray(Probing):
    """Xray `leastLoad` with the burst observatory: the least deviation of the round trip, then the least average.

    Ten samples of the last ten minutes by HEAD, at random times, 5 s to answer (healthping.go); alive is what had one
    success among them. Where a check of the connection itself fails too, nothing is noted: `connectivity` is set, to
    what any route reaches. Dials have 16 s, and five of them go to the same route; nothing is learned from them.
    """

    name = "xray least deviation"
    dial_timeout = 16.0
    sampling = 10

    def begin(self, world: World) -> None:
        """One sample of each route at once, then rounds of ten."""
        self._samples = {route: deque[float | None](maxlen=self.sampling) for route in world.routes}
        Peer.begin(self, world)
        self._touched = -math.inf
        self.probe_all()
        world.clock.spawn(self.every(self.interval * self.sampling, self._round), background=True)

    def _round(self) -> Process[None]:
        for route in self.world.routes:
            for _ in range(self.sampling):
                at = self.world.clock.now + self.world.rng.uniform(0, self.interval * self.sampling)
                self.world.clock.spawn(self.probe(route), at=at, background=True)
        return
        yield

    def probed(self, route: str, seconds: float | None) -> None:
        """Note it, unless no route is reached at all."""
        now = self.world.clock.now
        states = [self.world.path(other).at(now) for other in self.world.routes]
        if seconds is not None or any(state and state.probe and state.connect is not None for state in states):
            self._samples[route].append(seconds)

    def choose(self, request: Request, left: int) -> str:
        """The steadiest of those alive; the first where none is."""
        alive = [route for route in self.world.routes if any(self._successes(route))]
        return min(alive, key=self._load, default=self.world.routes[0])

    def _successes(self, route: str) -> list[float]:
        return [seconds for seconds in self._samples[route] if seconds is not None]

    def _load(self, route: str) -> tuple[float, float, int]:
        """Deviation, average, failures; of a single sample the deviation is half of it (healthping_result.go)."""
        seconds = self._successes(route)
        deviation = pstdev(seconds) if len(seconds) > 1 else seconds[0] / 2
        return deviation, fmean(seconds), len(self._samples[route]) - len(seconds)

    def dial(self, request: Request, left: int, until: float) -> Process[str | None]:
        """Five tries of one route, the pauses between them growing by 0.1 s."""
        route = self.choose(request, left)
        for tries in range(5):
            if (dialed := (yield from self.try_route(route, request, until))) is not None:
                return dialed
            again = self.world.clock.now + 0.1 * tries
            if again >= until:
                break
            yield again
        return None
