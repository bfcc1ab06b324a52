"""The world that a policy acts in: a trace, a clock, and an account of what the policy spends and does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

from tests.bench.policy.clock import Clock, Process
from tests.bench.policy.path import Path
from tests.bench.policy.trace import Request, State, Trace

from towline.types import Role


@dataclass(slots=True)
class Counts:
    """What a policy did, beside transferring."""

    switches: int = 0
    """Times that a tunnel went over another route than the one before it to the same registry and role."""
    probes: int = 0
    probe_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Reached:
    """What a probe met. Seconds; None for what did not come in time."""

    ends: float
    """When it is over."""
    dial: float | None = None
    first_byte: float | None = None
    """After the dial."""

    @property
    def ok(self) -> bool:
        """The first byte came."""
        return self.first_byte is not None


class Paths:
    """The paths of a trace, each made when it is first asked for. Runs of several policies may share them."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.routes = trace.routes
        self._states = {route: [state for state in trace.states if state.route == route] for route in self.routes}
        self._paths: dict[tuple[str, str | None, Role | None], Path] = {}

    def path(self, route: str, registry: str | None, role: Role | None) -> Path:
        """A route toward a registry's hosts of a role."""
        key = (route, registry, role)
        if key not in self._paths:
            states = [state for state in self._states[route] if state.applies(registry, role)]
            self._paths[key] = Path(list(_narrowest(states)))
        return self._paths[key]


def _narrowest(states: Iterable[State]) -> Iterator[State]:
    """Without those that are wider than one before them."""
    narrowest = 0
    for state in states:
        narrowest = max(narrowest, state.narrowness)
        if state.narrowness == narrowest:
            yield state


@dataclass(slots=True)
class World:
    """One run of one policy over one trace. `rng` is the policy's own."""

    paths: Paths
    rng: Random
    clock: Clock
    counts: Counts = field(default_factory=Counts)
    ways: dict[Request, list[str]] = field(default_factory=dict)
    """The routes that the tunnels of each request went over, one after the other."""
    _used: dict[tuple[str, Role], str] = field(default_factory=dict)

    @property
    def routes(self) -> tuple[str, ...]:
        """The routes in the order of the configuration."""
        return self.paths.routes

    @property
    def begins(self) -> float:
        """When the trace begins."""
        return self.paths.trace.begins

    def path(self, route: str, registry: str | None = None, role: Role | None = None) -> Path:
        """A route toward a registry's hosts of a role; without them, toward a test address that is of no registry."""
        return self.paths.path(route, registry, role)

    def to(self, route: str, request: Request) -> Path:
        """A route toward what a request asks for."""
        return self.path(route, request.registry, request.role)

    def used(self, route: str, request: Request) -> None:
        """A tunnel for a request goes over a route."""
        key = (request.registry, request.role)
        self.counts.switches += self._used.setdefault(key, route) != route
        self._used[key] = route
        self.ways.setdefault(request, []).append(route)

    def reach(self, path: Path, *, timeout: float) -> Reached:
        """What a probe that begins now meets: a dial, and a first byte."""
        began = self.clock.now
        state = path.at(began)
        if state is None or not state.probe:
            return Reached(began + timeout)
        connected = path.connected(began)
        answered = path.answered(connected)
        return Reached(
            min(answered, began + timeout),
            connected - began if connected <= began + timeout else None,
            answered - connected if answered <= began + timeout else None,
        )

    def head(self, route: str, *, timeout: float, cost: int) -> Process[float | None]:
        """A peer's probe: HEAD or GET of a small page. Returns its seconds, None where it fails."""
        self.counts.probes += 1
        self.counts.probe_bytes += cost
        began = self.clock.now
        reached = self.reach(self.path(route), timeout=timeout)
        yield reached.ends
        return reached.ends - began if reached.ok else None
