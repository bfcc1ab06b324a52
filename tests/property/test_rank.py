"""Rank for any routes, evidence and policy: nobody is lost, the order is reasoned, and failures never pay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from towline.core.circuit import MAX_COOL_DOWN, Circuit
from towline.core.classify import RegistrySpec
from towline.core.evidence import Carried
from towline.core.health import Health, Key
from towline.core.learned import Learned
from towline.core.policy import FailoverPolicy, TargetPolicy
from towline.core.rank import MAX_ATTEMPT_DELAY, MIN_ATTEMPT_DELAY, rank
from towline.types import UNLISTED, Classification, Ranking, Role, RouteKind, RouteSpec, Target

TARGET = Target("registry.test", 443)
NAMES = ("direct", "vpn", "office", "clash", "far")
REGISTRIES = ("hub", "quay", UNLISTED)
NOW = 10_000.0  # seconds

keys: st.SearchStrategy[Key] = st.tuples(st.sampled_from(NAMES), st.sampled_from(REGISTRIES), st.sampled_from(Role))
some_of = st.lists(st.sampled_from(NAMES), unique=True).map(tuple)
unlisted: st.SearchStrategy[Literal["direct", "route", "deny"]] = st.sampled_from(["direct", "route", "deny"])


@st.composite
def healths(draw: st.DrawFn) -> Health:
    """Any history up to NOW."""
    health = Health()
    ages = draw(st.lists(st.floats(0.0, 5000.0), max_size=8))
    for age in sorted(ages, reverse=True):
        match draw(st.sampled_from(["dialed", "answered", "carried", "cut", "failed"])):
            case "dialed":
                health.dialed(draw(st.floats(0.0, 10.0)), now=NOW - age)
            case "answered":
                health.answered(draw(st.none() | st.floats(0.0, 10.0)), now=NOW - age)
            case "carried":
                carried = Carried(draw(st.integers(0, 10**10)), draw(st.floats(0.0, 1e4)))
                health.carried(carried, well=draw(st.booleans()), now=NOW - age)
            case "cut":
                health.cut("upstream reset", now=NOW - age, weight=2)
            case _:
                health.failed("refused", now=NOW - age)
    return health


@dataclass(frozen=True)
class World:
    """Everything that rank looks at."""

    routes: list[RouteSpec]
    learned: Learned
    registry: RegistrySpec | None
    policy: TargetPolicy

    def rank(self, *, now: float = NOW) -> Ranking:
        """The ranking in this world."""
        name = UNLISTED if self.registry is None else self.registry.name
        return rank(
            TARGET,
            Classification(name, Role.UNKNOWN if self.registry is None else Role.API, "", ""),
            self.routes,
            self.learned,
            registry=self.registry,
            policy=self.policy,
            failover=FailoverPolicy(),
            now=now,
        )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any world."""
    specs = [
        RouteSpec(
            name,
            kind=draw(st.sampled_from(RouteKind)),
            cost=draw(st.floats(0.0, 100.0)),
            registries=draw(st.none() | st.just(()) | st.just(("hub",))),
            disabled=draw(st.booleans()),
        )
        for name in draw(st.permutations(NAMES))[: draw(st.integers(0, len(NAMES)))]
    ]
    registry = RegistrySpec("hub", routes=draw(st.none() | some_of), direct_first=draw(st.booleans()))
    return World(
        specs,
        Learned(draw(st.dictionaries(keys, healths(), max_size=8))),
        draw(st.sampled_from([registry, None])),
        TargetPolicy(unlisted=draw(unlisted)),
    )


def position(ranking: Ranking, route: str) -> int:
    """Where a candidate stands, the best at 0."""
    return [candidate.route for candidate in ranking.candidates].index(route)


@given(worlds())
def test_everyone_is_answered(world: World) -> None:
    """Every route is a candidate or left out, once, with a reason; a route that may serve is never left out."""
    ranking = world.rank()
    answers = [(candidate.route, candidate.reason) for candidate in ranking.candidates] + list(ranking.excluded)
    assert sorted(route for route, _ in answers) == sorted(spec.name for spec in world.routes)
    assert all(reason for _, reason in answers)
    fit = {spec.name for spec in world.routes if may_serve(spec, world)}
    assert {candidate.route for candidate in ranking.candidates} == fit
    assert ranking.why


def may_serve(spec: RouteSpec, world: World) -> bool:
    """The rule of who may serve, said again."""
    if spec.disabled:
        return False
    if world.registry is None:
        return world.policy.unlisted != "direct" or spec.name == "direct"
    by_registry = world.registry.routes is None or spec.name in world.registry.routes
    return by_registry and (spec.registries is None or world.registry.name in spec.registries)


@given(worlds())
def test_order(world: World) -> None:
    """Closed and half-open circuits before open ones, then the least expected seconds, then the configured order."""
    ranking = world.rank()
    assert ranking == world.rank(), "the same evidence gives the same ranking"
    registry = UNLISTED if world.registry is None else world.registry.name
    role = ranking.classification.role
    places = [spec.name for spec in world.routes]
    keys = [
        (
            world.learned.health.get((candidate.route, registry, role), Health()).circuit(now=NOW) is Circuit.OPEN,
            candidate.expected_seconds,
            places.index(candidate.route),
        )
        for candidate in ranking.candidates
    ]
    assert keys == sorted(keys)
    assert all(0.0 <= seconds < float("inf") for _, seconds, _ in keys)
    assert all(MIN_ATTEMPT_DELAY <= candidate.attempt_delay <= MAX_ATTEMPT_DELAY for candidate in ranking.candidates)


@settings(max_examples=200)
@given(worlds(), st.data())
def test_failure_never_pays(world: World, data: st.DataObject) -> None:
    """A new failure never moves a route forward, and never leaves it out."""
    before = world.rank()
    if before.candidates:
        route = data.draw(st.sampled_from(before.candidates)).route
        registry, role = before.classification.registry, before.classification.role
        world.learned.of(route, registry, role).failed("timeout 3.0 s", now=NOW)
        after = world.rank()
        assert position(after, route) >= position(before, route)
        assert len(after.candidates) == len(before.candidates)


@given(healths(), st.integers(0, 400))
def test_open_circuits_return(health: Health, failures: int) -> None:
    """However often a route has failed, its circuit is half-open after the longest cool-down at the latest."""
    for _ in range(failures):
        health.failed("refused", now=NOW)
    assert health.circuit(now=NOW + MAX_COOL_DOWN) is not Circuit.OPEN
    assert health.circuit(now=NOW) is Circuit.OPEN or failures < 3
