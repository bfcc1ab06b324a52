"""Rank by example: the order, its reasons, and what is left out and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Literal

import pytest
from tests.sharing import share

from towline.core.borrow import UNMEASURED_ANSWER
from towline.core.classify import RegistrySpec
from towline.core.estimate import OLD
from towline.core.evidence import Carried
from towline.core.health import Health
from towline.core.learned import Learned
from towline.core.policy import FailoverPolicy, TargetPolicy
from towline.core.rank import MAX_ATTEMPT_DELAY, MAX_PATIENCE, MIN_ATTEMPT_DELAY, MIN_PATIENCE, rank, without
from towline.core.spread import Sharing
from towline.types import UNLISTED, Classification, Ranking, Role, RouteKind, RouteSpec, Target

TARGET = Target("registry.test", 443)
HUB = RegistrySpec("hub", api=("registry.test",))
API = Classification("hub", Role.API, "registry.test", "api host of hub by rule registry.test")
STRANGE = Classification(UNLISTED, Role.UNKNOWN, "", "no rule of the catalogue matches")
DIRECT = RouteSpec("direct")
VPN = RouteSpec("vpn", interface="wg0")
OFFICE = RouteSpec("office", kind=RouteKind.HTTP, proxy=("proxy.test", 3128))
NOW = 1000.0  # seconds


def dials(seconds: float, *, at: float = NOW) -> Health:
    """A route with one dial, established."""
    health = Health()
    health.dialed(seconds, now=at)
    return health


def fails(times: int = 1, *, at: float = NOW, error: str = "refused") -> Health:
    """A route that was never established."""
    health = Health()
    for _ in range(times):
        health.failed(error, now=at)
    return health


def ranked(
    *routes: RouteSpec,
    health: Mapping[str, Health] | None = None,
    registry: RegistrySpec = HUB,
    failover: FailoverPolicy | None = None,
) -> Ranking:
    """The ranking of routes for a host of `registry`, whose health is given by route."""
    return rank(
        TARGET,
        API,
        routes,
        Learned({(route, "hub", Role.API): known for route, known in (health or {}).items()}),
        registry=registry,
        policy=TargetPolicy(),
        failover=failover or FailoverPolicy(),
        now=NOW,
    )


def order(ranking: Ranking) -> list[str]:
    """The routes, best first."""
    return [candidate.route for candidate in ranking.candidates]


def first_reason(ranking: Ranking) -> str:
    """Which route stands first, and its reason."""
    return f"{ranking.candidates[0].route}: {ranking.candidates[0].reason}"


def test_nothing_known() -> None:
    """Without evidence the configured order holds, and the reason says that nothing was measured."""
    ranking = ranked(OFFICE, DIRECT, VPN)
    assert order(ranking) == ["office", "direct", "vpn"]
    assert first_reason(ranking) == "office: not measured yet"
    assert len({candidate.expected_seconds for candidate in ranking.candidates}) == 1


def test_cost() -> None:
    """The configured cost moves a route back by its seconds."""
    ranking = ranked(RouteSpec("vpn", interface="wg0", cost=2.5), DIRECT)
    assert order(ranking) == ["direct", "vpn"]
    direct, vpn = ranking.candidates
    assert vpn.expected_seconds == pytest.approx(direct.expected_seconds + 2.5)
    assert vpn.reason == "cost 2.5 s, not measured yet"


def test_faster_route_first() -> None:
    """The route whose dials are faster stands first."""
    ranking = ranked(DIRECT, VPN, health={"direct": dials(0.2), "vpn": dials(0.05)})
    assert order(ranking) == ["vpn", "direct"]
    assert first_reason(ranking) == "vpn: dials in 50 ms"


@pytest.mark.parametrize(("direct", "expected"), [(0.05, ["direct", "vpn"]), (0.8, ["vpn", "direct"])])
def test_unmeasured_route(direct: float, expected: list[str]) -> None:
    """A route that nobody measured is tried before a slow one, and left behind a good one."""
    assert order(ranked(DIRECT, VPN, health={"direct": dials(direct)})) == expected


def test_old_measurements() -> None:
    """An old measurement counts less, and its reason says how old it is."""
    old = dials(3.0, at=NOW - 60 * OLD)
    ranking = ranked(DIRECT, VPN, health={"direct": old, "vpn": dials(1.5)})
    assert order(ranking) == ["direct", "vpn"]
    assert first_reason(ranking) == "direct: dials in 3000 ms, measured 36000 s ago"


def test_estimate_of_a_candidate() -> None:
    """Each candidate has its estimate, whose seconds and reason are its own."""
    (candidate,) = ranked(DIRECT, health={"direct": dials(0.2)}).candidates
    assert candidate.estimate is not None
    assert candidate.estimate.first_byte == pytest.approx(UNMEASURED_ANSWER)
    assert (candidate.estimate.seconds, candidate.estimate.reason) == (candidate.expected_seconds, candidate.reason)


@pytest.mark.parametrize(("times", "age"), [(1, 0.0), (2, 12.0), (3, 2.0), (3, 9.0)])
def test_failures(times: int, age: float) -> None:
    """A failure of just now, and several in a row, put a route behind a comparable one."""
    assert order(ranked(DIRECT, VPN, health={"direct": fails(times, at=NOW - age)})) == ["vpn", "direct"]


def test_open_circuit_stands_last() -> None:
    """A route with an open circuit stands behind every other, whatever they cost, and is not left out."""
    dear = RouteSpec("vpn", interface="wg0", cost=500.0)
    ranking = ranked(DIRECT, dear, health={"direct": fails(3)})
    assert order(ranking) == ["vpn", "direct"]
    assert ranking.excluded == ()


def test_all_circuits_open() -> None:
    """Where every circuit is open every route is still a candidate, the least bad first."""
    ranking = ranked(DIRECT, VPN, health={"direct": fails(4), "vpn": fails(3)})
    assert order(ranking) == ["vpn", "direct"]


def test_health_of_another_registry() -> None:
    """What failed for one registry opens no circuit for another."""
    ranking = rank(
        TARGET,
        API,
        [DIRECT],
        Learned({("direct", "quay", Role.API): fails(3)}),
        registry=HUB,
        policy=TargetPolicy(),
        failover=FailoverPolicy(),
        now=NOW,
    )
    (candidate,) = ranking.candidates
    assert (candidate.reason, candidate.estimate and candidate.estimate.circuit) == ("not measured yet", "closed")


def test_direct_first() -> None:
    """For a near registry the route `direct` stands first, before a VPN too, while it works at all."""
    near = RegistrySpec("near", direct_first=True)
    fast = {"vpn": dials(0.01), "office": dials(0.01)}
    ranking = ranked(VPN, OFFICE, DIRECT, registry=near, health=fast)
    assert order(ranking) == ["direct", "vpn", "office"]
    assert ranking.candidates[1].reason == "dials in 10 ms, near is best reached directly"
    assert order(ranked(VPN, DIRECT, registry=near, health=fast | {"direct": fails(3)})) == ["vpn", "direct"]


@pytest.mark.parametrize(
    ("route", "registry", "reason"),
    [
        (RouteSpec("vpn", disabled=True), HUB, "disabled in the configuration"),
        (VPN, RegistrySpec("hub", routes=("direct", "office")), "registry hub is limited to direct, office"),
        (VPN, RegistrySpec("hub", routes=()), "registry hub is limited to no route"),
        (RouteSpec("vpn", registries=("quay", "ghcr")), HUB, "serves only quay, ghcr"),
        (RouteSpec("vpn", registries=()), HUB, "serves only unlisted targets"),
    ],
)
def test_excluded(route: RouteSpec, registry: RegistrySpec, reason: str) -> None:
    """A route that may not serve the registry is left out, with the reason."""
    ranking = ranked(route, registry=registry)
    assert ranking.candidates == ()
    assert ranking.excluded == (("vpn", reason),)
    assert ranking.why == f"vpn: {reason}"


def bulk(rate: float) -> Health:
    """A route that carried layers at this rate, often."""
    health = Health()
    for age in (60, 45, 30, 15):
        health.dialed(0.05, now=NOW - age)
        health.answered(0.05, now=NOW - age)
        health.carried(Carried(8_000_000, 8_000_000 / rate), well=True, now=NOW - age)
    return health


@pytest.mark.parametrize(
    ("role", "spread", "expected", "first"),
    [
        (Role.BLOB, "auto", ["vpn", "direct"], "direct: {}, its tunnels share 8 MB/s"),
        (Role.BLOB, "off", ["vpn", "direct"], "vpn: {}, carries 6 MB/s"),
        (Role.API, "auto", ["vpn", "direct"], "vpn: {}"),
    ],
)
def test_parallel_layers(role: Role, spread: Literal["auto", "off"], expected: list[str], first: str) -> None:
    """The choice is by what a route carries in all, and the next layer goes beside it; other roles know of neither."""
    sharing = Sharing()
    share(sharing, "direct", 8e6, now=NOW)
    learned = Learned({("direct", "hub", role): bulk(4e6), ("vpn", "hub", role): bulk(6e6)}, sharing={"hub": sharing})
    ranking = rank(
        TARGET,
        replace(API, role=role),
        [DIRECT, VPN],
        learned,
        registry=HUB,
        policy=TargetPolicy(spread=spread),
        failover=FailoverPolicy(),
        now=NOW,
        rng=Random(1),
    )
    assert order(ranking) == expected
    assert (ranking.choice, ranking.is_spread) == (first.partition(":")[0], ranking.choice != expected[0])
    assert f"{ranking.choice}: {ranking.why_of(str(ranking.choice))}".startswith(
        first.format("dials in 50 ms, answers in 50 ms")
    )
    assert ("spread: 2 tunnels share 8 MB/s of direct" in ranking.why) is ranking.is_spread


def test_allowed() -> None:
    """Limits that name the route and the registry leave it in."""
    ranking = ranked(RouteSpec("vpn", registries=("hub",)), registry=RegistrySpec("hub", routes=("vpn",)))
    assert order(ranking) == ["vpn"]


@pytest.mark.parametrize(("unlisted", "expected"), [("direct", ["direct"]), ("route", ["vpn", "direct"])])
def test_unlisted_hosts(unlisted: Literal["direct", "route"], expected: list[str]) -> None:
    """Unlisted hosts go over the route `direct`, or over any; a route's limit to registries does not concern them."""
    limited = RouteSpec("direct", registries=())
    policy = TargetPolicy(unlisted=unlisted)
    ranking = rank(
        TARGET, STRANGE, [VPN, limited], Learned(), registry=None, policy=policy, failover=FailoverPolicy(), now=NOW
    )
    assert order(ranking) == expected
    if unlisted == "direct":
        assert ranking.excluded == (("vpn", "unlisted hosts go over direct (policy.unlisted)"),)


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (Health(), 0.4),
        (fails(), 0.4),
        (dials(0.1), pytest.approx(0.598, rel=0.01)),
        (dials(0.001), MIN_ATTEMPT_DELAY),
        (dials(5.0), MAX_ATTEMPT_DELAY),
    ],
)
def test_attempt_delay(health: Health, expected: float) -> None:
    """The next route waits as long as this one's dials usually take, within bounds; unmeasured, as configured."""
    ranking = ranked(DIRECT, health={"direct": health}, failover=FailoverPolicy(attempt_delay=0.4))
    assert ranking.candidates[0].attempt_delay == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(None, 1.2), (0.01, MIN_PATIENCE), (0.3, pytest.approx(1.79, rel=0.01)), (5.0, MAX_PATIENCE)],
)
def test_patience(answer: float | None, expected: float) -> None:
    """A route gets the time that its answers usually take, within bounds; the configured one until measured."""
    health = dials(0.1)
    health.answered(answer, now=NOW)
    ranking = ranked(DIRECT, health={"direct": health}, failover=FailoverPolicy(patience=1.2))
    assert ranking.candidates[0].patience == expected


def test_routes_that_are_left_out_afterwards() -> None:
    """They are excluded for this reason, beside those that were; a route that it does not have is no matter."""
    before = ranked(DIRECT, VPN, replace(OFFICE, disabled=True))
    after = without(before, {"vpn", "office", "other"}, "drained")
    assert [candidate.route for candidate in after.candidates] == ["direct"]
    assert after.excluded == (("office", "disabled in the configuration"), ("vpn", "drained"))
    assert without(before, (), "drained") == before
