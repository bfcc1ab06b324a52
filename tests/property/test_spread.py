"""Spreading in pulls of many layers, and for any evidence: it gains where routes add, and never takes a bad one.

The pulls run in fake time through the ledger and the ranking: three layers at a time share what their routes carry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.core.circuit import Circuit
from towline.core.classify import RegistrySpec
from towline.core.evidence import Carried, Finding
from towline.core.health import Health
from towline.core.learned import Learned
from towline.core.ledger import Ledger, Tunnel
from towline.core.policy import FailoverPolicy, TargetPolicy
from towline.core.rank import rank
from towline.core.spread import FAULTY, Sharing
from towline.types import Attempt, Blame, Classification, Outcome, OutcomeKind, Phase, Ranking, Role, RouteSpec, Target

TARGET = Target("blobs.test", 443)
BLOB = Classification("hub", Role.BLOB, "blobs.test", "blob host of hub")
HUB = RegistrySpec("hub", blob=("blobs.test",), routes=("direct", "vpn", "office"))
NAMES = ("direct", "vpn", "office", "barred", "off")
ROUTES = (
    RouteSpec("direct"),
    RouteSpec("vpn"),
    RouteSpec("office", cost=3.0),
    RouteSpec("barred"),
    RouteSpec("off", disabled=True),
)
AUTO, OFF = TargetPolicy(), TargetPolicy(spread="off")
NOW = 10_000.0  # seconds
STEP = 0.25  # seconds
LAYER = 32e6  # bytes
PARALLEL = 3  # layers at a time, as dockerd has them
ESTABLISHED = Outcome(OutcomeKind.ESTABLISHED, Phase.ESTABLISHED, Blame.NONE, 0.05, "established")


def ranked(
    learned: Learned, policy: TargetPolicy, *, routes: Sequence[RouteSpec] = ROUTES, now: float = NOW
) -> Ranking:
    """The ranking for a layer."""
    return rank(TARGET, BLOB, routes, learned, registry=HUB, policy=policy, failover=FailoverPolicy(), now=now)


@st.composite
def healths(draw: st.DrawFn) -> Health:
    """A route that carried layers, and failed now and then."""
    health = Health()
    for age in sorted(draw(st.lists(st.floats(0.0, 900.0), min_size=1, max_size=4)), reverse=True):
        health.dialed(0.05, now=NOW - age)
        health.answered(0.05, now=NOW - age)
        health.carried(Carried(10**7, draw(st.floats(0.1, 100.0))), well=True, now=NOW - age)
        if draw(st.integers(0, 3)) == 0:
            health.failed("refused", now=NOW - age, weight=draw(st.integers(1, 3)))
    return health


@st.composite
def sharings(draw: st.DrawFn) -> Sharing:
    """One route that is shared, most likely, and whatever else tunnels told."""
    sharing = Sharing(short=draw(st.integers(0, 3)))
    rate = draw(st.floats(1e5, 1e8))
    way = draw(st.sampled_from(NAMES))
    sharing.carried(1, way, rate, now=NOW - 20)
    for tunnel in range(draw(st.integers(0, 4))):
        sharing.carried(2 + tunnel, way, rate / 3, now=NOW - 1)
    for tunnel in range(draw(st.integers(0, 3))):
        sharing.carried(9 + tunnel, draw(st.sampled_from(NAMES)), draw(st.floats(1e5, 1e8)), now=NOW - 0.5)
    return sharing


@given(st.dictionaries(st.sampled_from(NAMES), healths()), sharings())
def test_never_a_bad_route(health: dict[str, Health], sharing: Sharing) -> None:
    """On, a layer goes aside only over a route that may serve and is well, and nothing else moves; off nothing does."""
    known = {(route, "hub", Role.BLOB): one for route, one in health.items()}
    assert ranked(Learned(known, sharing={"hub": sharing}), OFF) == ranked(Learned(known), AUTO)
    found = ranked(Learned(known, sharing={"hub": sharing}), AUTO)
    paused = ranked(Learned(known, sharing={"hub": replace(sharing, spread_at=NOW)}), AUTO)
    assert (found.choice, found.excluded) == (paused.choice, paused.excluded)
    assert found.choice == paused.candidates[0].route
    first, order = found.candidates[0], [one.route for one in found.candidates]
    assert found.is_spread == (first.route != found.choice)
    assert [route for route in order if route != first.route] == [
        one.route for one in paused.candidates if one.route != first.route
    ]
    if found.is_spread:
        assert first.estimate is not None
        assert (first.estimate.circuit, first.estimate.failure < FAULTY) == (Circuit.CLOSED, True)
        assert "; spread: " in found.why


@dataclass
class Pull:
    """Layers of one image, three at a time, over routes that end in one line or do not."""

    policy: TargetPolicy
    carries: dict[str, float]
    """Bytes a second of each route."""
    line: float = math.inf
    """Bytes a second of what all routes lead through."""
    each: float = math.inf
    """Bytes a second that a server gives a connection."""
    ledger: Ledger = field(default_factory=lambda: Ledger(started_at=0.0))
    now: float = 0.0
    left: dict[int, float] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)

    def run(self, layers: int) -> float:
        """Seconds that it takes, the first two layers one after the other."""
        for route, rate in self.carries.items():
            for _ in range(4):
                self._probe(route, min(rate, self.line, self.each))
                self.now += 15.0
        began = self.now
        while layers or self.left:
            while layers and len(self.left) < (PARALLEL if len(self.taken) > 1 else 1):
                self._open()
                layers -= 1
            self._step()
        return self.now - began

    def _probe(self, route: str, rate: float) -> None:
        carried = Carried(1 << 20, (1 << 20) / rate)
        finding = Finding(
            route, TARGET, "hub", Role.BLOB, ok=True, detail="", dial=0.05, first_byte=0.05, carried=carried
        )
        self.ledger.probed([finding], now=self.now)

    def _open(self) -> None:
        routes = [spec for spec in ROUTES if spec.name in self.carries]
        ranking = ranked(self.ledger.learned, self.policy, routes=routes, now=self.now)
        self.ledger.learned.took(ranking, now=self.now)
        tunnel = self.ledger.open(TARGET, "127.0.0.1:50000", BLOB, now=self.now)
        route = ranking.candidates[0].route
        self.ledger.raced(tunnel, [Attempt(route, 0.0, ESTABLISHED)], route, now=self.now)
        self.ledger.flown(tunnel, [Attempt(route, 0.0, ESTABLISHED)], route, now=self.now)
        self.left[tunnel.id] = LAYER
        self.taken.append(route)

    def _step(self) -> None:
        self.now += STEP
        tunnels = [self.ledger.tunnels[number] for number in self.left]
        for tunnel in tunnels:
            rate = self._rate(tunnel, tunnels)
            self.left[tunnel.id] -= rate * STEP
            if math.isclose(self.now % 1.0, 0.0):
                self.ledger.carried(tunnel, Carried(int(rate), 1.0), now=self.now)
        for tunnel in tunnels:
            if self.left[tunnel.id] <= 0:
                del self.left[tunnel.id]
                self.ledger.end(tunnel, now=self.now)

    def _rate(self, tunnel: Tunnel, tunnels: list[Tunnel]) -> float:
        """A fair share of the route, and of the line."""
        assert tunnel.route is not None
        here = sum(other.route == tunnel.route for other in tunnels)
        return min(self.carries[tunnel.route] / here, self.line / len(tunnels), self.each)


def took(*, line: float = math.inf, each: float = math.inf, **carries: float) -> tuple[float, float, set[str]]:
    """Seconds of a pull with spreading and without, and the routes that it takes with spreading."""
    auto, off = Pull(AUTO, carries, line, each), Pull(OFF, carries, line, each)
    seconds = auto.run(20), off.run(20)
    return *seconds, set(auto.taken)


def test_routes_that_add() -> None:
    """Two routes of a line each: twenty layers take two thirds of the time at most."""
    auto, off, routes = took(direct=7e6, vpn=8e6)
    assert auto < 0.67 * off
    assert routes == {"direct", "vpn"}


def test_routes_of_one_line() -> None:
    """Two routes through one line divide it: trying that costs next to nothing, and it is not tried for long."""
    auto, off, _ = took(direct=8e6, vpn=8e6, line=8e6)
    assert auto == pytest.approx(off, rel=0.02)


def test_route_of_half_the_rate() -> None:
    """A shared route is not left for one that carries less than it does, but more than each tunnel had of it."""
    auto, off, taken = took(direct=4e6, vpn=8e6)
    assert auto < 0.9 * off
    assert taken == {"vpn"}


@pytest.mark.parametrize("routes", [{"direct": 2e6, "vpn": 2e7}, {"vpn": 8e6, "office": 8e6}])
def test_routes_that_are_not_worth_it(routes: dict[str, float]) -> None:
    """A route that is much slower, or that costs more than is gained, is left alone."""
    auto, off, taken = took(**routes)
    assert auto == off
    assert taken == {"vpn"}


def test_connections_with_rates_of_their_own() -> None:
    """A server that gives each connection so much gives the next one as much: another route adds nothing."""
    auto, off, taken = took(direct=1e8, vpn=1e8, each=4e6)
    assert auto == off
    assert len(taken) == 1
