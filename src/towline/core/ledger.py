"""The ledger: the one mutable record of what happened and of what is open now; its views are frozen copies.

Every tunnel is opened here, raced here, and ended here; every refusal is counted here. Health is fed from races, from
what tunnels carried and from probes, by the rule of blame (blame.py); what it adds up to is kept in `learned`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from towline.core.blame import Outage, at_fault, probes_at_fault
from towline.core.circuit import Circuit
from towline.core.evidence import Carried, Finding
from towline.core.health import Health, Key
from towline.core.learned import Learned
from towline.types import Attempt, Classification, OutcomeKind, Role, RouteSpec, Target, TunnelPhase
from towline.views import RouteRegistryView, RouteView, Totals, TunnelView

DIAL_WEIGHT = 1  # of a failed dial in a route's streak
FLIGHT_WEIGHT = 2  # of an unanswered first flight: it costs the client seconds where a dial costs a fraction
FAILOVER_PHASES = ("connect", "first_flight", "release")  # the keys of status.json totals.failovers


class Flow(Protocol):
    """The live counters of a relay."""

    @property
    def bytes_in(self) -> int:
        """Bytes from upstream to the client so far."""
        ...

    @property
    def bytes_out(self) -> int:
        """Bytes from the client to upstream so far."""
        ...

    @property
    def last_activity(self) -> float:
        """When a byte last moved, on the ledger's clock."""
        ...


@dataclass(slots=True)
class Tunnel:
    """One tunnel from its request to its end."""

    id: int
    client: str
    target: Target
    classification: Classification
    opened_at: float
    phase: TunnelPhase = TunnelPhase.RACING
    route: str | None = None
    flow: Flow | None = None
    was_cut: bool = False
    """Its route failed under it."""

    @property
    def bytes_in(self) -> int:
        """Bytes from upstream to the client so far."""
        return self.flow.bytes_in if self.flow else 0

    @property
    def bytes_out(self) -> int:
        """Bytes from the client to upstream so far."""
        return self.flow.bytes_out if self.flow else 0


@dataclass(slots=True)
class RouteCounts:
    """What one route has carried and how its attempts went, over all registries."""

    attempts: int = 0
    failures: int = 0
    """Attempts that failed, whoever was at fault; being overtaken counts where health counts it."""
    bytes_in: int = 0
    bytes_out: int = 0
    last_error: str | None = None
    last_error_at: float | None = None


@dataclass(slots=True)
class Ledger:
    """All that is remembered of this run."""

    started_at: float
    learned: Learned = field(default_factory=Learned)
    routes: dict[str, RouteCounts] = field(default_factory=dict)
    tunnels: dict[int, Tunnel] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    failovers: Counter[str] = field(default_factory=Counter)
    opened: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    _forgotten: dict[str, int] = field(default_factory=dict)
    """Route -> number of the last tunnel that may have gone another way under this name."""
    _outage: Outage = field(default_factory=Outage)

    @property
    def health(self) -> dict[Key, Health]:
        """What was learned of routes, by route, registry and role."""
        return self.learned.health

    def open(self, target: Target, client: str, classification: Classification, *, now: float) -> Tunnel:
        """Record a request that passed the guard."""
        self.opened += 1
        tunnel = Tunnel(self.opened, client, target, classification, opened_at=now)
        self.tunnels[tunnel.id] = tunnel
        return tunnel

    def raced(self, tunnel: Tunnel, attempts: Sequence[Attempt], winner: str | None, *, now: float) -> None:
        """Learn from a finished race; one that the best route did not win is one failover at connect."""
        self._learn(tunnel, attempts, winner, weight=DIAL_WEIGHT, now=now)
        if winner is not None and attempts[0].route != winner:
            self.failovers["connect"] += 1

    def flown(self, tunnel: Tunnel, attempts: Sequence[Attempt], winner: str | None, *, now: float) -> None:
        """Learn from a first flight: which route answered, and which did not; no attempts where none was raced."""
        if winner is not None and attempts and attempts[0].route != winner:
            self.failovers["first_flight"] += 1
        self._learn(tunnel, attempts, winner, weight=FLIGHT_WEIGHT, now=now)
        if winner is not None and attempts:
            answered_first = attempts[0].route == winner
            seconds = attempts[0].outcome.seconds if answered_first else None  # a replay's time includes its dial
            self._health(winner, tunnel).answered(seconds, now=now, brings_layers=_brings_layers(tunnel))
        if (route := self._layers_over(tunnel)) is not None:
            self.learned.shared(tunnel.classification.registry).began(tunnel.id, route, now=now)

    def _is_forgotten(self, route: str, tunnel: Tunnel) -> bool:
        """What the tunnel tells is of another way out that had this name."""
        return tunnel.id <= self._forgotten.get(route, 0)

    def _health(self, route: str, tunnel: Tunnel) -> Health:
        if self._is_forgotten(route, tunnel):
            return Health()
        return self.learned.of(route, tunnel.classification.registry, tunnel.classification.role)

    def _layers_over(self, tunnel: Tunnel) -> str | None:
        """The route that brings layers in this tunnel; None where none does, or it is another one by now."""
        if tunnel.route is None or not _brings_layers(tunnel) or self._is_forgotten(tunnel.route, tunnel):
            return None
        return tunnel.route

    def _learn(
        self, tunnel: Tunnel, attempts: Sequence[Attempt], winner: str | None, *, weight: int, now: float
    ) -> None:
        tunnel.route = winner
        blamed = self._blamed(tunnel, attempts, winner, now=now)
        for attempt in attempts:
            outcome = attempt.outcome
            counts = self._counts(attempt.route)
            counts.attempts += 1
            if outcome.ok:
                if weight == DIAL_WEIGHT:
                    self._health(attempt.route, tunnel).dialed(outcome.seconds, now=now)
                continue
            if attempt in blamed:
                health = self._health(attempt.route, tunnel)
                health.failed(outcome.detail, now=now, weight=weight, lost=outcome.seconds)
            if attempt in blamed or outcome.kind is not OutcomeKind.CANCELLED:
                counts.failures += 1
                counts.last_error, counts.last_error_at = outcome.detail, now

    def _blamed(
        self, tunnel: Tunnel, attempts: Sequence[Attempt], winner: str | None, *, now: float
    ) -> Sequence[Attempt]:
        """The attempts at fault; none while the network is down."""
        if winner is not None:
            self._outage.reached()
        elif attempts:
            routes = [attempt.route for attempt in attempts]
            if self._outage.failed(tunnel.classification.registry, routes, now=now):
                return ()
        return at_fault(attempts, winner)

    def cut(self, tunnel: Tunnel, error: str, *, now: float) -> None:
        """The tunnel's route failed under it: its client resumes elsewhere, which is one failover by release."""
        self.failovers["release"] += 1
        tunnel.was_cut = True
        still = now - tunnel.flow.last_activity if tunnel.flow else 0.0
        self.broke(tunnel.route or "", tunnel, error, lost=still, now=now)

    def broke(self, route: str, tunnel: Tunnel, error: str, *, lost: float, now: float) -> None:
        """A route failed in the middle of a tunnel, which then stood still for `lost` seconds."""
        self._health(route, tunnel).cut(error, now=now, weight=FLIGHT_WEIGHT, lost=lost)
        self._count_failure(route, error, now)

    def unreachable(self, route: str, tunnel: Tunnel, error: str, *, now: float) -> None:
        """A route was found dead for the tunnel's registry."""
        self._health(route, tunnel).failed(error, now=now, weight=FLIGHT_WEIGHT)
        self._count_failure(route, error, now)

    def _counts(self, route: str) -> RouteCounts:
        if (counts := self.routes.get(route)) is None:
            counts = self.routes[route] = RouteCounts()
        return counts

    def _count_failure(self, route: str, error: str, now: float) -> None:
        counts = self._counts(route)
        counts.attempts += 1
        counts.failures += 1
        counts.last_error, counts.last_error_at = error, now

    def alive(self, route: str, tunnel: Tunnel, *, now: float) -> None:
        """A probe reached the tunnel's registry over a route."""
        self._health(route, tunnel).answered(None, now=now, brings_layers=_brings_layers(tunnel))

    def carried(self, tunnel: Tunnel, carried: Carried, *, now: float) -> None:
        """Bytes that came over the tunnel's route; for a long tunnel more than once, each time what came since."""
        health = self._health(tunnel.route or "", tunnel)
        health.carried(carried, well=not tunnel.was_cut, now=now)
        if (route := self._layers_over(tunnel)) is not None and carried.rate > 0:
            sharing = self.learned.shared(tunnel.classification.registry)
            sharing.carried(tunnel.id, route, carried.rate, now=now)

    def probed(self, findings: Sequence[Finding], *, now: float) -> None:
        """What probes of one host found, one finding for each route."""
        blamed: Sequence[Finding] = ()
        if any(finding.ok for finding in findings):
            self._outage.reached()
            blamed = probes_at_fault(findings)
        elif findings:
            routes = [finding.route for finding in findings]
            down = self._outage.failed(findings[0].registry, routes, now=now)
            blamed = () if down else probes_at_fault(findings)
        for finding in findings:
            health = self.learned.of(finding.route, finding.registry, finding.role)
            at_fault = finding in blamed and not self.learned.disproves_probes(finding.route, finding.registry)
            health.probed(finding, at_fault=at_fault, now=now)

    def network_changed(self, routes: Collection[str] | None = None, *, now: float) -> None:
        """These routes (None: all) may lead elsewhere than they did: what was learned of them is in doubt."""
        self.learned.on_another_network(routes, now=now)
        self._outage.reached()

    def rate(self, route: str, tunnel: Tunnel) -> float | None:
        """Bytes a second that a route is known to deliver from the tunnel's registry; None without evidence."""
        known = self.health.get((route, tunnel.classification.registry, tunnel.classification.role))
        return None if known is None else known.rate.value

    def fastest_other(self, tunnel: Tunnel) -> float:
        """Bytes a second that the fastest route but the tunnel's own is known to deliver to it; 0 without evidence."""
        seen = (tunnel.classification.registry, tunnel.classification.role)
        others = (route for route, *of in self.health if tuple(of) == seen and route != tunnel.route)
        return max((self.rate(route, tunnel) or 0.0 for route in others), default=0.0)

    def end(self, tunnel: Tunnel, *, now: float) -> None:
        """Close a tunnel's record and add up its bytes."""
        del self.tunnels[tunnel.id]
        tunnel.phase = TunnelPhase.ENDED
        self.bytes_in += tunnel.bytes_in
        self.bytes_out += tunnel.bytes_out
        self.learned.moved(tunnel.classification.registry, tunnel.classification.role, tunnel.bytes_in)
        if (route := self._layers_over(tunnel)) is not None:
            size = 0 if tunnel.was_cut else tunnel.bytes_in
            self.learned.ended(tunnel.id, tunnel.classification.registry, route, size, now=now)
        if tunnel.route is not None:
            counts = self._counts(tunnel.route)
            counts.bytes_in += tunnel.bytes_in
            counts.bytes_out += tunnel.bytes_out

    def forget(self, routes: Collection[str]) -> None:
        """Forget the health of these routes: under their names another way out is meant, or none. Sums stay."""
        self._forgotten.update(dict.fromkeys(routes, self.opened))
        self.learned.forget(routes)

    def refuse(self, code: str) -> None:
        """Count a request answered without a dial, or with none that succeeded."""
        self.refused[code] += 1

    def totals(self) -> Totals:
        """Sums since the start, open tunnels included."""
        return Totals(
            tunnels=self.opened,
            refused=dict(self.refused),
            failovers={phase: self.failovers[phase] for phase in FAILOVER_PHASES},
            bytes_in=self.bytes_in + sum(tunnel.bytes_in for tunnel in self.tunnels.values()),
            bytes_out=self.bytes_out + sum(tunnel.bytes_out for tunnel in self.tunnels.values()),
        )

    def tunnel_views(self, *, now: float) -> tuple[TunnelView, ...]:
        """The open tunnels, oldest first."""
        return tuple(
            TunnelView(
                id=tunnel.id,
                client=tunnel.client,
                target=str(tunnel.target),
                registry=tunnel.classification.registry,
                role=tunnel.classification.role,
                route=tunnel.route,
                phase=tunnel.phase,
                bytes_in=tunnel.bytes_in,
                bytes_out=tunnel.bytes_out,
                age_seconds=now - tunnel.opened_at,
                idle_seconds=now - (tunnel.flow.last_activity if tunnel.flow else tunnel.opened_at),
            )
            for tunnel in self.tunnels.values()
        )

    def route_view(
        self, spec: RouteSpec, registries: tuple[RouteRegistryView, ...], *, draining: bool, now: float
    ) -> RouteView:
        """One route with its sums; its circuit is the worst among its registries and their roles."""
        counts = self.routes.get(spec.name, RouteCounts())
        mine = [tunnel for tunnel in self.tunnels.values() if tunnel.route == spec.name]
        circuits = {health.circuit(now=now) for key, health in self.health.items() if key[0] == spec.name}
        worst = next((c for c in (Circuit.OPEN, Circuit.HALF_OPEN) if c in circuits), Circuit.CLOSED)
        return RouteView(
            name=spec.name,
            description=spec.describe(),
            names=spec.names,
            circuit=worst,
            draining=draining,
            tunnels=len(mine),
            bytes_in=counts.bytes_in + sum(tunnel.bytes_in for tunnel in mine),
            bytes_out=counts.bytes_out + sum(tunnel.bytes_out for tunnel in mine),
            attempts=counts.attempts,
            failures=counts.failures,
            last_error=counts.last_error,
            last_error_seconds_ago=None if counts.last_error_at is None else now - counts.last_error_at,
            registries=registries,
        )


def _brings_layers(tunnel: Tunnel) -> bool:
    return tunnel.classification.role is Role.BLOB
