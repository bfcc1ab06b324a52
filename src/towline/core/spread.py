"""Spread: whether the next of several parallel layers is better off on another route than the one that they share.

What one tunnel carries says nothing of what a second one beside it will: a server or a window limits each tunnel apart,
a line limits all of them together. Only in the second case does another route add anything, and only if it does not end
in the same line. So three rates are kept for each route of a registry:

    alone      of a tunnel while no other carries
    together   of all tunnels over the route while several carry, and no other route does
    beside     of all tunnels over the route while another route carries as well

undivided   a route that is shared is ranked by what it carries in all: else it would look slow for being in use, and
            the choice would go to one that is slower.
spread      puts another route first where the first one is shared (`together` is hardly more than `alone`), several
            tunnels carry over it, and a typical layer is clearly sooner complete on the other, which has to be well and
            whose rate has to be known. Where it was measured beside the first, that rate counts: two routes that end in
            one line divide it, and then nothing is gained and nothing spread.

Signed addresses may be bound to where the API was asked from. Towline does not see the 403 inside TLS, but it is short:
tunnels over another route than the API's that end with hardly a byte, several in a row, while the API's route carries,
end the spreading of that registry until one brings more. An image of many tiny layers looks the same: it loses little.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from towline.core.borrow import Known
from towline.core.circuit import Circuit
from towline.core.level import Belief, Level
from towline.types import Candidate, Estimate

SEVERAL = 2  # tunnels that have to carry over a route before another is taken beside it; our choice, like those below
FRESH = 3.0  # seconds for which a tunnel counts as carrying; it tells of itself each second (delivery.py)
PAUSE = 3.0  # seconds from one spread tunnel to the next: by then the last one is counted
SHARED = 1.5  # times `alone` that several carry together at most where they share, beyond doubt: two apart carry 2.0
CLEARLY = 0.2  # share of the seconds over the shared route that another has to be sooner by
UNSURE = 0.3  # deviation, as a share of the seconds, beyond which another route is not known well enough
VAGUE = 0.25  # variance of the log beyond which a rate is not known: within a factor of 1.6
FAULTY = 0.1  # probability of failure from which on a route is not well
SHORT = 16_384  # bytes of a tunnel with a refusal in it: a certificate chain of 4 to 8 KB, and a 403
IN_A_ROW = 3  # short ones that end the spreading
MOST = 32  # tunnels of a registry that are counted: their shares tell of the others' as well


@dataclass(slots=True)
class Rates:
    """Bytes a second over one route."""

    alone: Level = field(default_factory=lambda: Level(sudden=True))
    together: Level = field(default_factory=lambda: Level(sudden=True))
    beside: Level = field(default_factory=lambda: Level(sudden=True))

    def limit(self, *, now: float) -> Belief | None:
        """What all tunnels over the route carry together at most; None where nothing shows that they do."""
        alone, together = self.alone.belief(now=now), self.together.belief(now=now)
        if alone is None or together is None:
            return None
        doubt = math.sqrt(alone.variance + together.variance)
        return together if together.log - alone.log + doubt <= math.log(SHARED) else None


@dataclass(slots=True)
class Sharing:
    """How the layers of one registry share the routes."""

    rates: dict[str, Rates] = field(default_factory=dict)
    """By route."""
    spread_at: float = -math.inf
    """When a tunnel was last put on another route."""
    short: int = 0
    """Tunnels in a row that ended at once over another route than the API's."""
    _carrying: dict[int, tuple[str, float | None, float]] = field(default_factory=dict)
    """Tunnel -> route, bytes a second (None: not told yet), and when it last told; the oldest first."""

    def began(self, tunnel: int, route: str, *, now: float) -> None:
        """A tunnel was answered, and will carry."""
        self._note(tunnel, route, None, now)

    def carried(self, tunnel: int, route: str, rate: float, *, now: float) -> None:
        """A tunnel told what it carries."""
        self._note(tunnel, route, rate, now)
        told = {one: (way, part) for one, (way, part, _) in self._carrying.items() if part is not None}
        if tunnel not in told or len(told) < len(self._carrying):
            return  # one that was just begun takes its part already: nobody knows how much
        mine = [part for way, part in told.values() if way == route]
        rates = self.rates.setdefault(route, Rates())
        only = rates.alone if len(mine) == 1 else rates.together
        level = only if len(mine) == len(told) else rates.beside
        level.add(sum(mine), now=now)

    def ended(self, tunnel: int, route: str, size: int, *, api: str | None, now: float) -> None:
        """A tunnel has ended that brought so many bytes (0: it was cut); `api` is the route of the registry's API."""
        self._carrying.pop(tunnel, None)
        if api is None or route == api or size == 0:
            return
        if size >= SHORT:
            self.short = 0
        elif self.count(api, now=now):
            self.short += 1

    def of(self, route: str) -> Rates:
        """What is known of a route, to be read."""
        return self.rates.get(route, Rates())

    def count(self, route: str, *, now: float) -> int:
        """Tunnels that carry over a route."""
        self._drop_old(now)
        return sum(other == route for other, _, _ in self._carrying.values())

    @property
    def is_bound(self) -> bool:
        """Whether layers seem to come only over the API's route."""
        return self.short >= IN_A_ROW

    @property
    def routes(self) -> set[str]:
        """Those that something is known of."""
        return {*self.rates, *(route for route, _, _ in self._carrying.values())}

    def forget(self, routes: Collection[str]) -> None:
        """These routes lead elsewhere now."""
        self.rates = {route: rates for route, rates in self.rates.items() if route not in routes}
        self._carrying = {tunnel: one for tunnel, one in self._carrying.items() if one[0] not in routes}
        self.short = 0

    def _note(self, tunnel: int, route: str, rate: float | None, now: float) -> None:
        self._drop_old(now)
        if self._carrying.pop(tunnel, None) is not None or len(self._carrying) < MOST:
            self._carrying[tunnel] = route, rate, now

    def _drop_old(self, now: float) -> None:
        for tunnel, (_, _, at) in list(self._carrying.items()):
            if now - at > FRESH:
                del self._carrying[tunnel]


def undivided(beliefs: Mapping[str, Known], sharing: Sharing, *, now: float) -> dict[str, Known]:
    """What is believed of routes, where they are shared with the rate of all tunnels instead of that of each."""
    limits = {route: sharing.of(route).limit(now=now) for route in beliefs}
    return {
        route: one if (limit := limits[route]) is None else replace(one, rate=limit, is_shared=True)
        for route, one in beliefs.items()
    }


def spread(candidates: Sequence[Candidate], sharing: Sharing, *, now: float) -> tuple[Candidate, ...]:
    """The candidates, with another route first where the tunnels that share the first one leave too little of it."""
    unchanged = tuple(candidates)
    if len(candidates) < 2 or now - sharing.spread_at < PAUSE:
        return unchanged
    first, *others = candidates
    sharers = sharing.count(first.route, now=now)
    limit = sharing.of(first.route).limit(now=now)
    if sharers < SEVERAL or limit is None or first.estimate is None:
        return unchanged
    longest, best = min(((_longest(one, sharing, now), one) for one in others), key=lambda pair: pair[0])
    if longest >= (1 - CLEARLY) * _seconds(first.estimate, limit.value / (sharers + 1)):
        return unchanged
    shared = f"{sharers} tunnels share {limit.value / 1e6:.3g} MB/s of {first.route}"
    if sharing.is_bound:
        why = f"not spread, though {shared}: tunnels over another route than the API's ended at once"
        return replace(first, reason=f"{first.reason}; {why}"), *others
    rest = (one for one in candidates if one is not best)
    return replace(best, reason=f"{best.reason}; spread: {shared}"), *rest


def _longest(one: Candidate, sharing: Sharing, now: float) -> float:
    """Seconds over another route, give or take what is not known; infinite where it is not well, or hardly known."""
    found = one.estimate
    if found is None or found.circuit != Circuit.CLOSED or found.failure >= FAULTY:
        return math.inf
    beside = _sure(sharing.of(one.route).beside, now)
    if beside is None and (found.age is None or found.deviation > UNSURE * found.seconds):
        return math.inf
    rate = found.rate if beside is None else beside.value
    return _seconds(found, rate / (sharing.count(one.route, now=now) + 1)) + found.deviation


def _seconds(found: Estimate, rate: float) -> float:
    """Expected seconds where the route leaves so much to the tunnel."""
    return found.seconds + found.bytes * (1 / rate - 1 / found.rate)


def _sure(level: Level, now: float) -> Belief | None:
    """What is believed of a rate that is known well enough."""
    belief = level.belief(now=now)
    return None if belief is None or belief.variance > VAGUE else belief
