"""Choices over time, through the ledger and the ranking: noise moves nothing, a flap little, a change soon.

Each of these runs a small world in fake time: two routes, a tunnel to a blob host now and then, a probe of each route
in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from towline.core.classify import RegistrySpec
from towline.core.evidence import Carried, Finding
from towline.core.ledger import Ledger
from towline.core.policy import FailoverPolicy, TargetPolicy
from towline.core.rank import rank
from towline.types import Attempt, Blame, Classification, Outcome, OutcomeKind, Phase, Ranking, Role, RouteSpec, Target

TARGET = Target("blobs.test", 443)
BLOB = Classification("hub", Role.BLOB, "blobs.test", "blob host of hub")
HUB = RegistrySpec("hub", blob=("blobs.test",))
ROUTES = (RouteSpec("direct"), RouteSpec("vpn"))

type Rate = Callable[[str, float], float]
"""Bytes a second of a route at a time; 0 where it is down."""


@dataclass
class World:
    """Two routes, and what the ledger learns of them."""

    rate: Rate
    rng: Random
    sigma: float = 0.25
    ledger: Ledger = field(default_factory=lambda: Ledger(started_at=0.0))
    switches: list[float] = field(default_factory=list)
    used: str | None = None

    def take(self, now: float) -> Ranking:
        """The ranking of a tunnel."""
        ranking = rank(
            TARGET,
            BLOB,
            ROUTES,
            self.ledger.learned,
            registry=HUB,
            policy=TargetPolicy(),
            failover=FailoverPolicy(),
            now=now,
        )
        self.ledger.learned.took(ranking, now=now)
        return ranking

    def noisy(self, value: float) -> float:
        """A sample of it."""
        return value * math.exp(self.rng.gauss(0.0, self.sigma))

    def pull(self, now: float) -> str:
        """A tunnel over the route that is first, or the other one where that is down."""
        order = [candidate.route for candidate in self.take(now).candidates]
        up = next(route for route in order if self.rate(route, now))
        tunnel = self.ledger.open(TARGET, "127.0.0.1:50000", BLOB, now=now)
        established = Outcome(OutcomeKind.ESTABLISHED, Phase.ESTABLISHED, Blame.NONE, self.noisy(0.05), "established")
        down = Outcome(OutcomeKind.CANCELLED, Phase.CONNECT, Blame.NONE, 0.25, f"no answer in 0.25 s, {up} was faster")
        attempts = [
            Attempt(route, 0.25 * turn, established if route == up else down)
            for turn, route in enumerate(order[: order.index(up) + 1])
        ]
        self.ledger.raced(tunnel, attempts, up, now=now)
        self.ledger.flown(tunnel, [Attempt(up, 0.0, established)], up, now=now)
        rate = self.noisy(self.rate(up, now))
        self.ledger.carried(tunnel, Carried(4_000_000, 4_000_000 / rate), now=now)
        self.ledger.end(tunnel, now=now)
        if self.used not in (None, up):
            self.switches.append(now)
        self.used = up
        return order[0]

    def probe(self, now: float) -> None:
        """A probe of each route, with a part of a blob."""
        findings = []
        for spec in ROUTES:
            rate = self.rate(spec.name, now)
            carried = Carried(262_144, 262_144 / self.noisy(rate)) if rate else None
            dial, answer = (self.noisy(0.05), self.noisy(0.05)) if rate else (None, None)
            findings.append(
                Finding(
                    spec.name, TARGET, "hub", Role.BLOB, bool(rate), "timeout 2 s", Blame.ROUTE, dial, answer, carried
                )
            )
        self.ledger.probed(findings, now=now)


seeds = st.integers(0, 2**32)


def steady(direct: float, vpn: float) -> Rate:
    """Rates that never change."""
    return lambda route, now: direct if route == "direct" else vpn


@settings(max_examples=10, deadline=None)
@given(seeds, st.floats(0.8, 1.25))
def test_noise_moves_little(seed: int, ratio: float) -> None:
    """Over routes about as fast as each other, whose rates scatter by a quarter, six moves an hour at most."""
    world = World(steady(3e6, 3e6 * ratio), Random(seed))
    for turn in range(720):
        now = 5.0 * turn
        if turn % 12 == 0:
            world.pull(now)
        if turn % 6 == 3:
            world.probe(now)
    assert len(world.switches) <= 6


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_a_change_is_followed(seed: int) -> None:
    """After the better route degrades tenfold the choice is right within 10 s; after it recovers, within 30 s."""

    def rate(route: str, now: float) -> float:
        if route == "vpn":
            return 2e6
        return 5e5 if 300.0 <= now < 420.0 else 5e6

    world = World(rate, Random(seed), sigma=0.15)
    choices = {}
    for turn in range(120):
        now = 5.0 * turn
        if turn % 2:
            world.probe(now)
        choices[now] = world.pull(now)
    assert choices[295.0] == "direct"
    assert {choices[now] for now in choices if 310.0 <= now < 420.0} == {"vpn"}
    assert {choices[now] for now in choices if now >= 450.0} == {"direct"}


@settings(max_examples=10, deadline=None)
@given(seeds, st.sampled_from([0.0, 5e5]))
def test_flapping_is_damped(seed: int, bad: float) -> None:
    """A route that is good and bad by turns each second moves the choice four times a minute at most."""
    world = World(lambda route, now: 2e6 if route == "vpn" else (5e6 if now % 2 < 1 else bad), Random(seed))
    moves = []
    for turn in range(360):
        now = turn * 0.5
        before = world.ledger.learned.choices.get(("hub", Role.BLOB))
        world.pull(now)
        after = world.ledger.learned.choices["hub", Role.BLOB]
        if before is not None and after.route != before.route:
            moves.append(now)
        if turn % 14 == 0:
            world.probe(now)
    for start in moves:
        assert sum(start <= at < start + 60.0 for at in moves) <= 4
