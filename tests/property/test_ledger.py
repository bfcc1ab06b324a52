"""The ledger against a simple account of the same events: everything adds up, and blame keeps its rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from towline.core.blame import TOGETHER
from towline.core.ledger import FLIGHT_WEIGHT, Ledger, Tunnel
from towline.types import (
    Attempt,
    Blame,
    Classification,
    Outcome,
    OutcomeKind,
    Phase,
    Role,
    RouteSpec,
    Target,
    TunnelPhase,
)

TARGET = Target("registry.test", 443)
ROUTES = ("direct", "vpn", "office")
REGISTRIES = ("hub", "quay")

failures = st.builds(
    Outcome,
    kind=st.sampled_from([OutcomeKind.REFUSED, OutcomeKind.TIMEOUT, OutcomeKind.PROXY_REFUSED, OutcomeKind.LOCAL]),
    phase=st.sampled_from([Phase.CONNECT, Phase.PROXY]),
    blame=st.sampled_from([Blame.ROUTE, Blame.TARGET, Blame.LOCAL]),
    seconds=st.floats(0.0, 5.0),
    detail=st.just("failed"),
)
overtaken = st.builds(
    Outcome,
    kind=st.just(OutcomeKind.CANCELLED),
    phase=st.just(Phase.CONNECT),
    blame=st.just(Blame.NONE),
    seconds=st.floats(0.0, 5.0),
    detail=st.just("another was faster"),
)
LOSERS = st.lists(st.one_of(failures, overtaken), min_size=2, max_size=2)
ESTABLISHED = Outcome(OutcomeKind.ESTABLISHED, Phase.ESTABLISHED, Blame.NONE, 0.1, "established")


def in_order(losers: list[Outcome], place: int) -> list[Attempt]:
    """The attempts of a race that the route at `place` won."""
    outcomes = [*losers[:place], ESTABLISHED, *losers[place:]]
    return [
        Attempt(route, 0.1 * turn, outcome) for turn, (route, outcome) in enumerate(zip(ROUTES, outcomes, strict=True))
    ]


def at_fault(attempts: list[Attempt], place: int) -> Counter[str]:
    """The rule of blame for a race that was won, said again."""
    return Counter(
        attempt.route
        for turn, attempt in enumerate(attempts)
        if not attempt.outcome.ok
        and attempt.outcome.blame is not Blame.LOCAL
        and (turn < place or attempt.outcome.kind is not OutcomeKind.CANCELLED)
    )


@dataclass
class Bytes:
    """The counters of a relay."""

    bytes_in: int = 0
    bytes_out: int = 0
    last_activity: float = 0.0


@dataclass
class Account:
    """What a reader would write down of the same events."""

    tunnels: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    connect_failovers: int = 0
    flight_failovers: int = 0
    bytes_in: Counter[str] = field(default_factory=Counter)
    bytes_out: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)


class LedgerMachine(RuleBasedStateMachine):
    """Requests come, race, move bytes and end in any order."""

    racing = Bundle("racing")
    flying = Bundle("flying")
    relaying = Bundle("relaying")

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.ledger = Ledger(started_at=self.now)
        self.account = Account()
        self.open: list[Tunnel] = []

    @rule(target=racing, registry=st.sampled_from(REGISTRIES))
    def request(self, registry: str) -> Tunnel:
        """A request passes the guard."""
        self.now += 1.0
        tunnel = self.ledger.open(TARGET, "127.0.0.1:5", Classification(registry, Role.API, "", ""), now=self.now)
        self.account.tunnels += 1
        self.open.append(tunnel)
        return tunnel

    @rule(code=st.sampled_from(["port", "loop"]))
    def refuse(self, code: str) -> None:
        """A request is refused."""
        self.ledger.refuse(code)
        self.account.refused[code] += 1

    @rule(target=flying, tunnel=consumes(racing), place=st.integers(0, 2), losers=LOSERS)
    def win(self, tunnel: Tunnel, place: int, losers: list[Outcome]) -> Tunnel:
        """A race is won by the route at `place`; the others have failed or are overtaken."""
        attempts = in_order(losers, place)
        before = self.blamed(tunnel)
        self.ledger.raced(tunnel, attempts, ROUTES[place], now=self.now)
        tunnel.phase = TunnelPhase.FIRST_FLIGHT
        self.account.connect_failovers += place > 0
        self.account.attempts.update(ROUTES)
        assert self.blamed(tunnel) - before == at_fault(attempts, place)
        return tunnel

    @rule(target=relaying, tunnel=consumes(flying), place=st.integers(0, 2), losers=LOSERS)
    def fly(self, tunnel: Tunnel, place: int, losers: list[Outcome]) -> Tunnel:
        """The first flight is answered by the route at `place`: its streak is over, the others' grow by blame."""
        attempts = in_order(losers, place)
        before, streaks = self.blamed(tunnel), self.streaks(tunnel)
        self.ledger.flown(tunnel, attempts, ROUTES[place], now=self.now)
        tunnel.flow, tunnel.phase = Bytes(), TunnelPhase.RELAYING
        self.account.flight_failovers += place > 0
        self.account.attempts.update(ROUTES)
        faults = at_fault(attempts, place)
        assert self.blamed(tunnel) - before == faults
        for route in ROUTES:
            grown = streaks[route] + FLIGHT_WEIGHT * faults[route]
            assert self.streaks(tunnel)[route] == (0 if route == ROUTES[place] else grown)
        return tunnel

    @rule(tunnel=consumes(racing), outcomes=st.lists(failures, min_size=3, max_size=3))
    def lose(self, tunnel: Tunnel, outcomes: list[Outcome]) -> None:
        """Every route fails, long after any other request did, and this one ends."""
        self.now += TOGETHER
        attempts = [Attempt(route, 0.1, outcome) for route, outcome in zip(ROUTES, outcomes, strict=True)]
        before = self.blamed(tunnel)
        self.ledger.raced(tunnel, attempts, None, now=self.now)
        self.account.attempts.update(ROUTES)
        newly = self.blamed(tunnel) - before
        ways = Counter((outcome.kind, outcome.phase) for outcome in outcomes)
        for attempt in attempts:
            alone = ways[attempt.outcome.kind, attempt.outcome.phase] == 1
            assert newly[attempt.route] == int(alone and attempt.outcome.blame is Blame.ROUTE)
        self.end(tunnel)

    @rule(tunnel=relaying, more_in=st.integers(0, 10**12), more_out=st.integers(0, 10**6))
    def move(self, tunnel: Tunnel, more_in: int, more_out: int) -> None:
        """Bytes move."""
        assert isinstance(tunnel.flow, Bytes)
        assert tunnel.route is not None
        tunnel.flow.bytes_in += more_in
        tunnel.flow.bytes_out += more_out
        self.account.bytes_in[tunnel.route] += more_in
        self.account.bytes_out[tunnel.route] += more_out

    @rule(tunnel=st.one_of(consumes(racing), consumes(flying), consumes(relaying)))
    def finish(self, tunnel: Tunnel) -> None:
        """A tunnel ends, or its client has left before."""
        self.end(tunnel)

    def end(self, tunnel: Tunnel) -> None:
        """End one tunnel."""
        self.ledger.end(tunnel, now=self.now)
        self.open.remove(tunnel)

    def blamed(self, tunnel: Tunnel) -> Counter[str]:
        """Failures by route, in the health of this tunnel's registry."""
        registry = tunnel.classification.registry
        return Counter(
            {route: health.failures for (route, name, _), health in self.ledger.health.items() if name == registry}
        )

    def streaks(self, tunnel: Tunnel) -> Counter[str]:
        """Streaks by route, in the health of this tunnel's registry."""
        registry = tunnel.classification.registry
        return Counter(
            {route: health.streak.weight for (route, name, _), health in self.ledger.health.items() if name == registry}
        )

    @invariant()
    def totals_are_the_sums(self) -> None:
        """Totals, route views and tunnel views tell the same sums as the account."""
        totals = self.ledger.totals()
        assert totals.tunnels == self.account.tunnels
        assert totals.refused == dict(self.account.refused)
        assert totals.failovers == {
            "connect": self.account.connect_failovers,
            "first_flight": self.account.flight_failovers,
            "release": 0,
        }
        assert totals.bytes_in == self.account.bytes_in.total()
        assert totals.bytes_out == self.account.bytes_out.total()
        for route in ROUTES:
            view = self.ledger.route_view(RouteSpec(route), (), draining=False, now=self.now)
            assert (view.bytes_in, view.bytes_out) == (self.account.bytes_in[route], self.account.bytes_out[route])
            assert view.attempts == self.account.attempts[route]
            assert view.tunnels == sum(tunnel.route == route for tunnel in self.open)
            assert 0 <= view.failures <= view.attempts

    @invariant()
    def open_tunnels_are_shown(self) -> None:
        """The open tunnels are shown in the order in which they came, never younger than they are."""
        views = self.ledger.tunnel_views(now=self.now)
        assert [view.id for view in views] == [tunnel.id for tunnel in self.open]
        assert all(view.age_seconds >= 0.0 for view in views)


LedgerMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    # Most rules need a tunnel in some phase. Where hypothesis plays without the rule that opens them, as it should now
    # and then, it counts every step that could not be chosen as filtered.
    suppress_health_check=[HealthCheck.filter_too_much],
)
TestLedger = LedgerMachine.TestCase
