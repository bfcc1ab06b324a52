"""Towline itself: the core as it is, in a world that is not.

    serve    rank -> race (core/race.py), in rounds (core/pacing.py) -> the first flight, raced too -> relay under a
             Watch (core/stall.py) and what the client can bear (core/releases.py) -> the ledger learns

This does what serving.py, watching.py and net/ do around the core, and decides nothing. What a socket would tell, the
paths of the trace tell. Probes are in towline_probes.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from tests.bench.policy import client
from tests.bench.policy.clock import Clock, Process
from tests.bench.policy.path import Path
from tests.bench.policy.towline_probes import Prober, host_of
from tests.bench.policy.trace import Request
from tests.bench.policy.world import World

from towline.core.delivery import Delivery
from towline.core.health import Health
from towline.core.ledger import Ledger, Tunnel
from towline.core.pacing import Pacing
from towline.core.policy import FailoverPolicy, StallPolicy, TargetPolicy
from towline.core.race import Cancel, Command, Dial, Finish, Race, Wake
from towline.core.rank import rank
from towline.core.releases import Past, Releases, may_release
from towline.core.stall import Beside, Cause, Probe, Release, Verdict, Watch
from towline.types import (
    Attempt,
    Blame,
    Candidate,
    Classification,
    Outcome,
    OutcomeKind,
    Phase,
    Ranking,
    RouteSpec,
    Target,
)

CLIENT = "127.0.0.1"
PROCESS = "dockerd"  # whose patience client.py has
SENT = 700  # bytes that a client sends: the end of its handshake and a request
LOOK_EVERY = 0.5  # seconds between two looks (watching.py)
PROBE_TIME = (1.0, 2.5)  # seconds that the watch's probes have at least and at most (probing.py)
OTHERS = 2  # routes that they try beside the tunnel's own (probing.py)


class ClientLeft(Exception):  # noqa: N818 - as the proxy calls it
    """The client did not wait."""


@dataclass(slots=True, eq=False)
class Watched:
    """A tunnel that relays: the Flow that the ledger asks, and what its watch looks at."""

    tunnel: Tunnel
    route: str
    path: Path
    past: Past
    clock: Clock
    began: float
    size: int
    """Bytes that its client asks for."""
    delivery: Delivery
    watch: Watch | None = None
    still_together_at: float = -math.inf

    @property
    def received(self) -> int:
        """Bytes of the body that came so far."""
        body = self.path.body
        return min(int(body.done_by(self.clock.now) - body.done_by(self.began)), self.size)

    @property
    def bytes_in(self) -> int:
        """All that came: the server's first byte, and the body."""
        return 1 + self.received

    @property
    def bytes_out(self) -> int:
        """What the client sent."""
        return SENT

    @property
    def last_activity(self) -> float:
        """When a byte last came; the client sends none after its request."""
        return max(self.began, self.path.body.last_moved(self.clock.now))

    def goes_as(self, other: Watched) -> bool:
        """Whether it goes to the same target over the same route."""
        return self.tunnel.target == other.tunnel.target and self.route == other.route


class Towline:
    """What this repository is about."""

    name = "towline"
    failover = FailoverPolicy()
    stall = StallPolicy()

    def begin(self, world: World) -> None:
        """Nothing is known; nothing is in use, so that nothing is probed."""
        self.world = world
        self.ledger = Ledger(world.clock.now)
        self._specs = [RouteSpec(route) for route in world.routes]
        self._releases = Releases()
        self._pacing = Pacing()
        self._watched: dict[int, Watched] = {}
        self._judging: set[tuple[str, Target]] = set()
        self._stuck: dict[Target, tuple[str, float]] = {}
        self._prober = Prober(world, self.ledger, self.rank)

    def network_changed(self, network: str) -> None:
        """What was found says little any more."""
        self.ledger.network_changed(now=self.world.clock.now)
        self._prober.changed()

    def take(self, target: Target, classification: Classification) -> Ranking:
        """The routes for a tunnel, the one to take first (deciding.py)."""
        ranking = self.rank(target, classification, self.world.rng)
        self.ledger.learned.took(ranking, now=self.world.clock.now)
        return ranking

    def rank(self, target: Target, classification: Classification, rng: Random | None = None) -> Ranking:
        """The routes for a target, best first; with `rng`, some explore."""
        return rank(
            target,
            classification,
            self._specs,
            self.ledger.learned,
            registry=None,
            policy=TargetPolicy(),
            failover=self.failover,
            now=self.world.clock.now,
            rng=rng,
        )

    def serve(self, request: Request, left: int, *, deadline: float) -> Process[int]:
        """One tunnel, from its CONNECT to its end; see Policy."""
        clock = self.world.clock
        target, classification = host_of(request.registry, request.role)
        tunnel = self.ledger.open(target, CLIENT, classification, now=clock.now)
        past = self._releases.opened(CLIENT, target.host, now=clock.now)
        self._blame_if_back(tunnel, past)
        self._prober.asked(target, classification)
        try:
            won = yield from self._race(tunnel, request, min(deadline, clock.now + client.CONNECT_LIMIT))
            if won is None:
                return 0
            flown_at = clock.now
            route = yield from self._fly(tunnel, request, *won, min(deadline, clock.now + client.HANDSHAKE_LIMIT))
            if route is None:
                return 0
            self.world.used(route, request)
            delivery = Delivery(now=flown_at)
            delivery.note(now=flown_at, bytes_in=0, bytes_out=SENT, held=False)
            watched = Watched(tunnel, route, self.world.to(route, request), past, clock, clock.now, left, delivery)
            tunnel.flow = watched
            return (yield from self._relay(watched, deadline))
        except ClientLeft:
            return 0
        finally:
            self.ledger.end(tunnel, now=clock.now)

    def _race(self, tunnel: Tunnel, request: Request, until: float) -> Process[tuple[str, Ranking] | None]:
        """Race in as many rounds as there are (serving.py: `_race`)."""
        clock, target = self.world.clock, tunnel.target
        ends = clock.now + self.failover.budget(request.role)
        rounds = 0
        while True:
            rounds += 1
            ranking = self.take(target, tunnel.classification)

            def dialed(route: str, start: float) -> float:
                return self.world.to(route, request).connected(start)

            budget = ends - clock.now
            winner, attempts = yield from self._run(
                ranking.candidates, self.failover, budget, Phase.CONNECT, dialed, until
            )
            self.ledger.raced(tunnel, attempts, winner, now=clock.now)
            if winner is not None:
                self._pacing.reached(target)
                return winner, ranking
            left = ends - clock.now
            pause = self._pacing.pause(target, attempts, rounds=rounds, left=left, now=clock.now)
            if pause is None:
                return None
            yield clock.now + pause

    def _fly(self, tunnel: Tunnel, request: Request, won: str, ranking: Ranking, until: float) -> Process[str | None]:
        """Race the first flight, first over what won (net/flight.py: `fly`)."""
        established = self.world.clock.now
        candidates = sorted(ranking.candidates, key=lambda candidate: candidate.route != won)
        candidates = [replace(candidate, attempt_delay=candidate.patience) for candidate in candidates]
        budget = self.failover.budget_flight if len(candidates) > 1 else self.failover.budget_blob

        def answered(route: str, start: float) -> float:
            path = self.world.to(route, request)
            return path.answered(established if route == won else path.connected(start))

        policy = replace(self.failover, dial_timeout=budget)
        winner, attempts = yield from self._run(candidates, policy, budget, Phase.FIRST_FLIGHT, answered, until)
        self.ledger.flown(tunnel, attempts, winner, now=self.world.clock.now)
        return winner

    def _run(
        self,
        candidates: Sequence[Candidate],
        policy: FailoverPolicy,
        budget: float,
        phase: Phase,
        ends: Callable[[str, float], float],
        until: float,
    ) -> Process[tuple[str | None, Sequence[Attempt]]]:
        """Perform a race's commands (net/racer.py); `ends` tells when a dial of a route is established."""
        clock = self.world.clock
        race = Race(candidates, policy, budget=budget)
        running: dict[str, tuple[float, float]] = {}  # route -> when it is established, and its deadline
        commands: Sequence[Command] = race.begin(now=clock.now)
        while True:
            wake_at = race.deadline
            for command in commands:
                match command:
                    case Dial(route, deadline):
                        running[route] = (ends(route, clock.now), deadline)
                    case Cancel(route):
                        del running[route]
                    case Wake(at):
                        wake_at = at
                    case Finish(winner):
                        return winner, race.attempts
            yield min(wake_at, until, *(min(times) for times in running.values()))
            now = clock.now
            over = next((route for route, times in running.items() if min(times) <= now), None)
            if over is None:
                if now >= until:
                    raise ClientLeft
                commands = race.woken(now=now)
                continue
            established, deadline = running.pop(over)
            if established <= deadline:
                commands = race.established(over, now=now)
            else:
                waited = now - race.began_at(over)
                outcome = Outcome(OutcomeKind.TIMEOUT, phase, Blame.ROUTE, waited, f"timeout {waited:.1f} s")
                commands = race.failed(over, outcome, now=now)

    def _relay(self, watched: Watched, deadline: float) -> Process[int]:
        """Look at a tunnel until it ends, by itself or by a release (watching.py)."""
        clock, body, role = self.world.clock, watched.path.body, watched.tunnel.classification.role
        beside = Beside(
            partial(self._stand_still_together, watched),
            lambda: sum(other.watch.pace for other in self._watched.values() if other.watch and other.goes_as(watched)),
            partial(self.ledger.fastest_other, watched.tunnel),
        )
        watched.watch = Watch(watched.route, role, self.stall, beside)
        self._watched[watched.tunnel.id] = watched
        done = body.finished(watched.began, watched.size)
        end = min(done, deadline, body.stood_still(watched.began, min(done, deadline), client.SILENCE_LIMIT))
        while clock.now < end:
            yield min(end, clock.now + LOOK_EVERY)
            if clock.now < end and self._look(watched):
                break
        del self._watched[watched.tunnel.id]
        self._learn(watched)
        return watched.size if clock.now >= done else watched.received

    def _look(self, watched: Watched) -> bool:
        """Look at a tunnel; True where it is released."""
        self._learn(watched)
        now = self.world.clock.now
        assert watched.watch is not None
        step = watched.watch.look(
            now=now,
            bytes_in=watched.bytes_in,
            bytes_out=watched.bytes_out,
            last_in=watched.last_activity,
            last_out=watched.began,
            queued_in=0,
        )
        if isinstance(step, Probe):
            key = (watched.route, watched.tunnel.target)
            if key not in self._judging:
                self._judging.add(key)
                self.world.clock.spawn(self._judge(watched), background=True)
        return isinstance(step, Release) and self._release(watched, step)

    def _learn(self, watched: Watched) -> None:
        """Tell the ledger what came since the last time."""
        now = self.world.clock.now
        watched.delivery.note(now=now, bytes_in=watched.bytes_in, bytes_out=watched.bytes_out, held=False)
        if carried := watched.delivery.take(known=self.ledger.rate(watched.route, watched.tunnel)):
            self.ledger.carried(watched.tunnel, carried, now=now)

    def _release(self, watched: Watched, release: Release) -> bool:
        """Whether the client can bear it; then the ledger knows of it first."""
        now, tunnel = self.world.clock.now, watched.tunnel
        moved = watched.bytes_in
        who = self._releases.identify(CLIENT, PROCESS, http2=False)
        if not may_release(who, watched.past, release, moved=moved, now=now).allowed:
            return False
        if release.cause is Cause.STUCK:
            self._stuck[tunnel.target] = watched.route, release.silence
        else:
            self.ledger.cut(tunnel, release.reason, now=now)
        self._releases.ended_early(CLIENT, tunnel.target.host, watched.past, moved=moved, now=now)
        return True

    def _blame_if_back(self, tunnel: Tunnel, past: Past) -> None:
        """A client that is back had not finished: the route that it was stuck on is at fault."""
        if past.returned and (stuck := self._stuck.pop(tunnel.target, None)) is not None:
            route, lost = stuck
            why = "stood still in the middle of an answer"
            self.ledger.broke(route, tunnel, why, lost=lost, now=self.world.clock.now)

    def _stand_still_together(self, watched: Watched) -> bool:
        """Whether several tunnels to a host over a route stand still, and none of them moves."""
        now = self.world.clock.now
        still = []
        for other in self._watched.values():
            if not other.goes_as(watched) or other.watch is None or not other.watch.stands_still:
                continue
            if now - other.last_activity < self.stall.suspect_after:
                return False
            still.append(other)
        if len(still) > 1:
            for other in still:
                other.still_together_at = now
        return watched.still_together_at > watched.last_activity

    def _judge(self, watched: Watched) -> Process[None]:
        """Probe a tunnel's route and the next best, and judge all tunnels of its host and route by what is found."""
        tunnel, began = watched.tunnel, self.world.clock.now
        ranked = [candidate.route for candidate in self.rank(tunnel.target, tunnel.classification).candidates]
        ways = [watched.route, *[route for route in ranked if route != watched.route][:OTHERS]]
        registry, role = tunnel.classification.registry, tunnel.classification.role
        found = {}
        for route in ways:
            found[route] = self.world.reach(self.world.path(route, registry, role), timeout=self._time(route, tunnel))
        yield max(reached.ends for reached in found.values())
        now = self.world.clock.now
        for route, reached in found.items():
            if reached.ok:
                self.ledger.alive(route, tunnel, now=now)
            elif route != watched.route and any(other.ok for other in found.values()):
                self.ledger.unreachable(route, tunnel, "probe: timeout", now=now)
        elsewhere = next((route for route in ways[1:] if found[route].ok), None)
        rate = None if elsewhere is None else self.ledger.rate(elsewhere, tunnel)
        verdict = Verdict(here=found[watched.route].ok, elsewhere=elsewhere, began=began, rate=rate)
        self._judging.discard((watched.route, tunnel.target))
        for other in self._watched.values():
            if other.goes_as(watched) and other.watch is not None:
                other.watch.judged(verdict, now=now)

    def _time(self, route: str, tunnel: Tunnel) -> float:
        """Seconds for a probe of the watch (probing.py)."""
        kind = tunnel.classification
        health = self.ledger.health.get((route, kind.registry, kind.role)) or Health()
        usual = (health.dial.usual() or 0.0) + (health.answer.usual() or 0.0)
        return min(max(2 * usual, PROBE_TIME[0]), PROBE_TIME[1])
