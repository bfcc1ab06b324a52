"""What is believed of a route for one role of a registry, with what is borrowed while its own evidence is thin or old.

Three circles lend, the nearer one more: the registry's other roles over this route, its other registries, and all other
routes for the same role ("middling": what limits them is shared in part, the client's line and the registry itself).
Each is taken for as sure as its own evidence and the usual difference between its circle and the one asked about make
it. So a route with evidence of its own borrows next to nothing, one that nobody measured is middling, and one that was
measured a day ago is something between.

Rates are lent by evidence that carried bulk alone: there is no other kind (health.py).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from towline.core.health import Health, Key
from towline.core.level import Belief, Level, joined, pooled
from towline.types import Role

UNMEASURED_DIAL = 0.25  # seconds that a dial is taken to last which nobody measured: the pause of RFC 8305 section 5
UNMEASURED_ANSWER = 0.25  # seconds, likewise
UNMEASURED_RATE = 4e6  # bytes a second, 32 Mbit/s; our choice. It matters until a single route was measured
UNMEASURED = 2.0  # variance of the logs of these: within a factor of 4
BETWEEN_ROLES = 0.15  # variance of the log between a registry's hosts over one route: a factor of 1.5
BETWEEN_REGISTRIES = 0.3  # the same between registries: a factor of 1.7
BETWEEN_ROUTES = 1.0  # the same between routes: a factor of e
RATE_BY_DELAY = 0.5
"""How much of a factor in delay is one in rate, as a power. What a TCP connection carries over a path that loses a bit
is as the inverse of its round trip (Mathis et al. 1997); as far as something else limits it, it is not."""
UNTRIED = 0.02  # share of attempts that are taken to fail where nothing was tried
UNTRIED_WEIGHT = 1.0  # attempts that this weighs as
LENT_BY_ROLES = 4.0  # attempts that those at the registry's other hosts weigh as at most
LENT_BY_REGISTRIES = 1.0  # the same of other registries: a route that is blocked toward one carries the others well
SUSPICION = 0.5  # part of a streak at the route's other hosts that is held against it here

NOTHING = "not measured yet"


@dataclass(frozen=True, slots=True)
class Known:
    """What is believed of one route for one role of one registry."""

    dial: Belief
    answer: Belief
    rate: Belief
    failure: float
    """Probability that an attempt fails."""
    own: Health | None
    """Its own evidence, without what is borrowed."""
    lent: str
    """Whose evidence this is where the route has none of its own here, for the reader; "" where it has."""
    is_shared: bool = False
    """The rate is what all its tunnels share, not what each of them had (spread.py)."""


@dataclass(frozen=True, slots=True)
class _Circles:
    """The health of one route, by how near it is to what is asked about."""

    own: Health | None
    kin: tuple[tuple[Role, Health], ...]
    """The registry's other roles."""
    rest: tuple[tuple[Role, Health], ...]
    """Other registries."""
    role: Role

    @property
    def relatives(self) -> tuple[Health, ...]:
        """Those of its kin whose failures tell something here: that layers are cut says nothing about small answers."""
        return self._telling(self.kin)

    @property
    def others(self) -> tuple[Health, ...]:
        """The same of other registries."""
        return self._telling(self.rest)

    def _telling(self, circle: tuple[tuple[Role, Health], ...]) -> tuple[Health, ...]:
        return tuple(one for role, one in circle if self.role is Role.BLOB or role is not Role.BLOB)


def known(
    health: Mapping[Key, Health], routes: Iterable[str], registry: str, role: Role, *, now: float
) -> dict[str, Known]:
    """What is believed of each of these routes."""
    circles = _circles(health, routes, registry, role)
    dials = _beliefs(circles, lambda one: one.dial, UNMEASURED_DIAL, now)
    answers = _beliefs(circles, lambda one: one.answer, UNMEASURED_ANSWER, now)
    rates = _beliefs(circles, lambda one: one.rate, UNMEASURED_RATE, now, by_delay=dials)
    return {
        route: Known(dials[route], answers[route], rates[route], _failure(circle, now), circle.own, _lent(circle))
        for route, circle in circles.items()
    }


def _circles(health: Mapping[Key, Health], routes: Iterable[str], registry: str, role: Role) -> dict[str, _Circles]:
    own: dict[str, Health] = {}
    kin: dict[str, list[tuple[Role, Health]]] = defaultdict(list)
    rest: dict[str, list[tuple[Role, Health]]] = defaultdict(list)
    for (route, name, other), one in health.items():
        if name != registry:
            rest[route].append((other, one))
        elif other is not role:
            kin[route].append((other, one))
        else:
            own[route] = one
    return {route: _Circles(own.get(route), tuple(kin[route]), tuple(rest[route]), role) for route in routes}


def _beliefs(
    circles: Mapping[str, _Circles],
    level: Callable[[Health], Level],
    unmeasured: float,
    now: float,
    *,
    by_delay: Mapping[str, Belief] | None = None,
) -> dict[str, Belief]:
    """The belief in one quantity, for every route; for rates `by_delay` has the delays that they depend on."""
    measured = {route: _of_route(circle, level, now) for route, circle in circles.items()}
    beliefs = {}
    for route, belief in measured.items():
        nearer = 0.0 if by_delay is None else math.log(UNMEASURED_DIAL) - by_delay[route].log
        middling = Belief(math.log(unmeasured) + RATE_BY_DELAY * nearer, UNMEASURED)
        others = joined(other for name, other in measured.items() if name != route)
        if others is not None:
            middling &= replace(others.wider(BETWEEN_ROUTES), spread=0.0)
        beliefs[route] = middling if belief is None else belief & middling
    return beliefs


def _of_route(circle: _Circles, level: Callable[[Health], Level], now: float) -> Belief | None:
    """The belief that the evidence on one route alone gives."""
    lent = _lend(circle.rest, level, BETWEEN_REGISTRIES, now)
    near = _lend(circle.kin, level, BETWEEN_ROLES, now)
    own = level(circle.own).belief(now=now) if circle.own is not None else None
    return joined((own, near, lent))


def _lend(
    circle: Sequence[tuple[Role, Health]], level: Callable[[Health], Level], between: float, now: float
) -> Belief | None:
    """What a circle lends: all its evidence together is no surer than the difference between circles."""
    if not circle:
        return None
    together = pooled((level(one) for _, one in circle), wider=between, now=now)
    return None if together is None else together.wider(between)


def _failure(circle: _Circles, now: float) -> float:
    """Probability that an attempt fails: from the share of late, and from failures in a row."""
    own = circle.own or Health()
    believed = not any(one.disproves_probes for _, one in ((circle.role, own), *circle.kin))
    ok, bad = UNTRIED_WEIGHT * (1 - UNTRIED), UNTRIED_WEIGHT * UNTRIED
    for healths, most in ((circle.others, LENT_BY_REGISTRIES), (circle.relatives, LENT_BY_ROLES), ((own,), math.inf)):
        more_ok, more_bad = _sum(healths, believed=believed, now=now)
        part = min(1.0, most / total) if (total := more_ok + more_bad) else 0.0
        ok, bad = ok + more_ok * part, bad + more_bad * part
    share = bad / (ok + bad)
    return max(share, _suspicion(circle, own, believed=believed, now=now))


def _sum(healths: Iterable[Health], *, believed: bool, now: float) -> tuple[float, float]:
    """Successes and failures of traffic, and those of probes where they are believed."""
    ok = bad = 0.0
    for one in healths:
        for tries in (one.tries, one.probes) if believed else (one.tries,):
            more_ok, more_bad = tries.counts(now=now)
            ok += more_ok
            bad += more_bad
    return ok, bad


def _suspicion(circle: _Circles, own: Health, *, believed: bool, now: float) -> float:
    """How likely it is by its streak that a route is down: one failure says nothing, and each further one halves hope.

    A streak at the registry's other hosts is held against it in part, unless it did well here since. One that probes
    made counts where they are believed.
    """

    def down(one: Health) -> float:
        weight = one.streak.faded(now=now) if believed or not one.unheard else 0.0
        return 1.0 - math.exp2(-max(0.0, weight - 1.0))

    since = max(own.tries.at, own.probes.at)
    elsewhere = [down(one) for one in circle.relatives if one.streak.last_failure > since]
    return max(down(own), SUSPICION * max(elsewhere, default=0.0))


def _lent(circle: _Circles) -> str:
    if circle.own is not None and circle.own.measured_at() is not None:
        return ""
    if any(one.measured_at() is not None for _, one in circle.kin):
        return "by its other hosts"
    if any(one.measured_at() is not None for _, one in circle.rest):
        return "by other registries"
    return NOTHING
