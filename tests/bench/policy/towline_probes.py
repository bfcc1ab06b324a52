"""Towline's probes: the plan of core/probes.py, carried out on the paths of the trace.

    hear    a dial and a first byte of the host, in its role
    read    then the same of the registry's blob host, and a part of a blob

This does what measuring.py and net/probe.py do around the core.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tests.bench.policy.clock import Process
from tests.bench.policy.world import World

from towline.core.allowance import Allowance
from towline.core.circuit import Circuit
from towline.core.evidence import Carried, Finding
from towline.core.health import Health
from towline.core.ledger import Ledger
from towline.core.probes import PULLING, READ_SIZE, Probes, Round, Standing
from towline.types import Blame, Classification, Ranking, Role, Target

PROBE_BYTES = 64 << 20  # an hour, as configured by default
HEARING = 8_000  # bytes that hearing costs: a handshake, a small answer. An estimate
TIMEOUT = 5.0  # seconds for hearing, and for the dial and the first byte of a blob (HEAR_TIME)
READ_TIME = 5.0  # seconds of a blob's bytes
STILL = 2.0  # seconds without a byte at the end of these: it stands still
LEAST = 16 * 1024  # bytes of a blob that tell anything (net/images.py)
ORDER_LASTS = 10.0  # seconds for which an order of routes is taken to hold where only a plan depends on it


class Prober:
    """Carries out the plan for one Towline."""

    def __init__(self, world: World, ledger: Ledger, rank: Callable[[Target, Classification], Ranking]) -> None:
        self._world = world
        self._ledger = ledger
        self._rank = rank
        self._probes = Probes(Allowance(PROBE_BYTES), world.rng)
        self._carried_at: dict[tuple[str, str], float] = {}
        self._timer = 0
        self._orders: dict[Target, tuple[float, list[str]]] = {}

    def asked(self, target: Target, classification: Classification) -> None:
        """A client asks for a host."""
        if self._note(target, classification, self._world.clock.now):
            self._plan()

    def _note(self, target: Target, classification: Classification, now: float) -> bool:
        return self._probes.asked(target, classification, readable=classification.role is Role.API, now=now)

    def changed(self) -> None:
        """The network is another one."""
        self._probes.changed(now=self._world.clock.now)
        self._plan()

    def _plan(self) -> None:
        """Begin what is due, and come back when more is."""
        self._look_at_traffic()
        plan = self._probes.plan(self._standings, now=self._world.clock.now)
        for round_ in plan.rounds:
            self._world.clock.spawn(self._round(round_), background=True)
        self._timer += 1
        if plan.next_at is not None:
            self._world.clock.spawn(self._wake(self._timer), at=plan.next_at, background=True)

    def _look_at_traffic(self) -> None:
        """Tunnels that move keep their registry in use, and tell of their route."""
        self._carried_at.clear()
        for tunnel in self._ledger.tunnels.values():
            if tunnel.flow is not None and tunnel.route is not None:
                moved_at, kind = tunnel.flow.last_activity, tunnel.classification
                if self._world.clock.now - moved_at <= PULLING:
                    self._note(tunnel.target, kind, moved_at)
                    if kind.role is Role.BLOB:
                        key = tunnel.route, kind.registry
                        self._carried_at[key] = max(moved_at, self._carried_at.get(key, moved_at))

    def _wake(self, timer: int) -> Process[None]:
        if timer == self._timer:
            self._plan()
        return
        yield

    def _standings(self, target: Target, classification: Classification) -> Sequence[Standing]:
        """What the ledger knows of the routes for a host."""
        return [self._standing(route, classification) for route in self._order(target, classification)]

    def _standing(self, route: str, kind: Classification) -> Standing:
        here = self._ledger.health.get((route, kind.registry, kind.role)) or Health()
        blob = self._ledger.health.get((route, kind.registry, Role.BLOB)) or Health()
        return Standing(
            route,
            failing=here.circuit(now=self._world.clock.now) is not Circuit.CLOSED,
            heard_at=_latest(here.answer.measured_at, here.streak.last_failure if here.failures else None),
            read_at=_latest(blob.rate.measured_at, self._carried_at.get((route, kind.registry))),
        )

    def _order(self, target: Target, classification: Classification) -> list[str]:
        """The routes, best first, as they were up to some seconds ago: most of a run's time would go into this."""
        now = self._world.clock.now
        at, order = self._orders.get(target, (-math.inf, []))
        if now - at >= ORDER_LASTS:
            order = [candidate.route for candidate in self._rank(target, classification).candidates]
            self._orders[target] = now, order
        return order

    def _round(self, round_: Round) -> Process[None]:
        """Probe the routes of one host side by side, and tell what was found of all of them together."""
        clock, counts = self._world.clock, self._world.counts
        heard = [self._hear(route, round_.target, round_.classification) for route in round_.routes]
        ends = max(end for _, end in heard)
        read = [finding for finding, _ in heard if finding.ok and finding.route in round_.reads]
        blob = host_of(round_.classification.registry, Role.BLOB)
        reading = [self._read(finding.route, *blob, at=end) for finding, end in heard if finding in read]
        yield max([ends, *(end for _, end in reading)])
        spent = sum(finding.spent for finding, _ in (*heard, *reading))
        counts.probes += len(heard) + len(reading)
        counts.probe_bytes += spent
        self._ledger.probed([finding for finding, _ in heard], now=clock.now)
        if reading:
            self._ledger.probed([finding for finding, _ in reading], now=clock.now)
        ok = {finding.route for finding, _ in heard if finding.ok}
        self._probes.ended(round_, heard=ok, spent=spent, now=clock.now)
        self._plan()

    def _hear(self, route: str, target: Target, kind: Classification) -> tuple[Finding, float]:
        """What is heard over a route, and when."""
        reached = self._world.reach(self._world.path(route, kind.registry, kind.role), timeout=TIMEOUT)
        failure = "" if reached.ok else f"timeout {TIMEOUT} s"
        finding = _finding(route, target, kind, failure, HEARING, dial=reached.dial, first_byte=reached.first_byte)
        return finding, reached.ends

    def _read(self, route: str, target: Target, kind: Classification, *, at: float) -> tuple[Finding, float]:
        """What a reading brings that begins at a time, and when it is over."""
        path = self._world.path(route, kind.registry, kind.role)
        connected = path.connected(at)
        answered = path.answered(connected)
        if answered > at + TIMEOUT:
            dial = connected - at if connected <= at + TIMEOUT else None
            finding = _finding(route, target, kind, f"timeout {TIMEOUT} s", HEARING, dial=dial)
            return finding, at + TIMEOUT
        done = min(path.body.finished(answered, READ_SIZE), answered + READ_TIME)
        size = min(round(path.body.done_by(done) - path.body.done_by(answered)), READ_SIZE)
        stands = size < READ_SIZE and (size < LEAST or done - path.body.last_moved(done) > STILL)
        finding = _finding(
            route,
            target,
            kind,
            f"stands still after {size} bytes of a blob" if stands else "",
            HEARING + size,
            dial=connected - at,
            first_byte=answered - connected,
            carried=None if stands else Carried(size, done - answered),
        )
        return finding, done


def host_of(registry: str, role: Role) -> tuple[Target, Classification]:
    """The one host that a registry has for a role in a trace."""
    target = Target(f"{role}.{registry}.example", 443)
    return target, Classification(registry, role, target.host, "the trace says so")


def _latest(*times: float | None) -> float | None:
    return max((at for at in times if at is not None), default=None)


def _finding(
    route: str,
    target: Target,
    kind: Classification,
    failure: str,
    spent: int,
    *,
    dial: float | None = None,
    first_byte: float | None = None,
    carried: Carried | None = None,
) -> Finding:
    """A finding; `failure` is "" for one that is well."""
    return Finding(
        route,
        target,
        kind.registry,
        kind.role,
        ok=not failure,
        detail=failure or "answers",
        blame=Blame.ROUTE if failure else Blame.NONE,
        dial=dial,
        first_byte=first_byte,
        carried=carried,
        spent=spent,
    )
