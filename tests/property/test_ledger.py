"""The ledger against a simple account of the same events: everything adds up, and blame keeps its rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from towline.core.ledger import Ledger, Tunnel
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
ESTABLISHED = Outcome(OutcomeKind.ESTABLISHED, Phase.ESTABLISHED, Blame.NONE, 0.1, "established")


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
    failovers: int = 0
    bytes_in: Counter[str] = field(default_factory=Counter)
    bytes_out: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)


class LedgerMachine(RuleBasedStateMachine):
    """Requests come, race, move bytes and end in any order."""

    racing = Bundle("racing")
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

    @rule(target=relaying, tunnel=consumes(racing), place=st.integers(0, 2), data=st.data())
    def win(self, tunnel: Tunnel, place: int, data: st.DataObject) -> Tunnel:
        """A race is won by the route at `place`; the others have failed or are overtaken."""
        losers = st.one_of(failures, overtaken)
        attempts = [
            Attempt(route, 0.1 * number, ESTABLISHED if number == place else data.draw(losers))
            for number, route in enumerate(ROUTES)
        ]
        before = self.blamed(tunnel)
        self.ledger.raced(tunnel, attempts, ROUTES[place], now=self.now)
        tunnel.flow, tunnel.phase = Bytes(), TunnelPhase.RELAYING
        self.account.failovers += place > 0
        self.account.attempts.update(ROUTES)
        newly = self.blamed(tunnel) - before
        for number, attempt in enumerate(attempts):
            early_or_broken = number < place or attempt.outcome.kind is not OutcomeKind.CANCELLED
            at_fault = number != place and attempt.outcome.blame is not Blame.LOCAL and early_or_broken
            assert newly[attempt.route] == int(at_fault)
        return tunnel

    @rule(tunnel=consumes(racing), data=st.data())
    def lose(self, tunnel: Tunnel, data: st.DataObject) -> None:
        """Every route fails, and the request ends."""
        outcomes = [data.draw(failures) for _ in ROUTES]
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

    @rule(tunnels=st.lists(consumes(relaying), max_size=2))
    def finish(self, tunnels: list[Tunnel]) -> None:
        """Tunnels end."""
        for tunnel in tunnels:
            self.end(tunnel)

    def end(self, tunnel: Tunnel) -> None:
        """End one tunnel."""
        self.ledger.end(tunnel)
        self.open.remove(tunnel)

    def blamed(self, tunnel: Tunnel) -> Counter[str]:
        """Failures by route, in the health of this tunnel's registry."""
        registry = tunnel.classification.registry
        return Counter(
            {route: health.failures for (route, name), health in self.ledger.health.items() if name == registry}
        )

    @invariant()
    def totals_are_the_sums(self) -> None:
        """Totals, route views and tunnel views tell the same sums as the account."""
        totals = self.ledger.totals()
        assert totals.tunnels == self.account.tunnels
        assert totals.refused == dict(self.account.refused)
        assert totals.failovers == {"connect": self.account.failovers, "first_flight": 0, "release": 0}
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


LedgerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestLedger = LedgerMachine.TestCase
