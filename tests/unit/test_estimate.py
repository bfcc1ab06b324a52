"""Estimates by example: the seconds of each part, and the phrase that says what they rest on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from towline.core.borrow import UNMEASURED_ANSWER, UNMEASURED_DIAL, UNMEASURED_RATE, UNTRIED, known
from towline.core.circuit import RECENT
from towline.core.classify import RegistrySpec
from towline.core.estimate import DIRECT_FIRST, FAILING_OVER, JUST_FAILED, OLD, estimate
from towline.core.evidence import Carried
from towline.core.health import Health
from towline.core.level import COHERENCE, Belief
from towline.types import Estimate, Role, RouteSpec

HUB = RegistrySpec("hub", api=("registry.test",))
VPN = RouteSpec("vpn", interface="wg0")
NOW = 1000.0  # seconds


def estimated(
    own: Health | None = None,
    *,
    spec: RouteSpec = VPN,
    registry: RegistrySpec | None = HUB,
    role: Role = Role.API,
    typical: float = 0.0,
    now: float = NOW,
) -> Estimate:
    """The estimate of a route with this evidence."""
    health = {} if own is None else {(spec.name, "hub", role): own}
    believed = known(health, [spec.name], "hub", role, now=now)[spec.name]
    return estimate(spec, believed, registry, role=role, typical=typical, now=now)


def measured() -> Health:
    """A route that was measured often, and just now."""
    health = Health()
    for turn in range(50):
        then = NOW - COHERENCE * (49 - turn)
        health.dialed(0.05, now=then)
        health.answered(0.1, now=then)
        health.carried(Carried(20_000_000, 4.0), well=True, now=then)
    return health


def test_nothing_known() -> None:
    """Without evidence every part is middling, the evidence has no age, and the reason says so."""
    found = estimated(typical=4e6)
    expected = UNMEASURED_DIAL + UNMEASURED_ANSWER + 4e6 / UNMEASURED_RATE + UNTRIED * FAILING_OVER[Role.API]
    assert found.seconds == pytest.approx(expected)
    assert found.deviation > found.dial
    assert (found.age, found.probed, found.circuit, found.reason) == (None, None, "closed", "not measured yet")


def test_parts() -> None:
    """Dial, first byte, bytes over rate and failures add up."""
    found = estimated(measured(), role=Role.BLOB, typical=10e6)
    assert found.dial == pytest.approx(0.05, rel=0.05)
    assert found.first_byte == pytest.approx(0.1, rel=0.05)
    assert found.rate == pytest.approx(5e6, rel=0.05)
    parts = found.dial + found.first_byte + 10e6 / found.rate + found.failure * FAILING_OVER[Role.BLOB]
    assert found.seconds == pytest.approx(parts)
    assert found.deviation < 0.2
    assert (found.age, found.bytes) == (0.0, 10e6)
    assert found.reason == "dials in 50 ms, answers in 100 ms, carries 5 MB/s"


def test_rate_that_is_shared() -> None:
    """A route is ranked by what its tunnels share, where that is known, and the reason says so."""
    believed = known({("vpn", "hub", Role.BLOB): measured()}, ["vpn"], "hub", Role.BLOB, now=NOW)["vpn"]
    shared = replace(believed, rate=Belief(math.log(8e6), 0.01), is_shared=True)
    found = estimate(VPN, shared, HUB, role=Role.BLOB, typical=10e6, now=NOW)
    assert found.rate == pytest.approx(8e6)
    assert found.reason == "dials in 50 ms, answers in 100 ms, its tunnels share 8 MB/s"


def test_rate_is_told_of_blobs_alone() -> None:
    """What a route carries is no reason where little is to be carried."""
    assert estimated(measured()).reason == "dials in 50 ms, answers in 100 ms"


def test_cost() -> None:
    """The configured cost is seconds like all others, and told first."""
    found = estimated(spec=RouteSpec("vpn", cost=2.5))
    assert found.seconds == pytest.approx(estimated().seconds + 2.5)
    assert found.reason == "cost 2.5 s, not measured yet"


def test_direct_first() -> None:
    """For a near registry every route but `direct` is behind, and says why."""
    near = RegistrySpec("near", direct_first=True)
    assert estimated(registry=near).seconds == pytest.approx(estimated().seconds + DIRECT_FIRST)
    assert estimated(registry=near).reason == "not measured yet, near is best reached directly"
    assert estimated(registry=near, spec=RouteSpec("direct")).reason == "not measured yet"


def test_registry_that_nobody_configured() -> None:
    """An unlisted host has no registry, and an estimate all the same."""
    assert math.isfinite(estimated(registry=None, role=Role.UNKNOWN, typical=1e6).seconds)


@pytest.mark.parametrize(
    ("times", "age", "reason"),
    [
        (1, 0.0, "not measured yet, failed 0 s ago (refused)"),
        (2, 12.0, "not measured yet, failed 2 times in a row, last 12 s ago (refused)"),
        (3, 2.0, "not measured yet, failed 3 times in a row, last 2 s ago (refused), circuit open"),
        (3, 9.0, "not measured yet, failed 3 times in a row, last 9 s ago (refused), circuit half-open"),
        (1, 3600.0, "not measured yet"),
    ],
)
def test_failures(times: int, age: float, reason: str) -> None:
    """The reason says how often a route failed, when, how, and what its circuit does, until that weighs nothing."""
    health = Health()
    for _ in range(times):
        health.failed("refused", now=NOW - age)
    assert estimated(health).reason == reason


def test_just_failed() -> None:
    """For RECENT seconds a single failure costs a little more than the share that it is of all."""
    health = measured()
    health.failed("refused", now=NOW)
    now, later = estimated(health), estimated(health, now=NOW + RECENT)
    assert now.seconds - later.seconds == pytest.approx(JUST_FAILED, abs=0.05)


def test_age() -> None:
    """Old evidence is told with its age, and so is the last probe."""
    health = measured()
    health.probed_at = NOW - 30.0
    found = estimated(health, now=NOW + OLD)
    assert found.reason == "dials in 50 ms, answers in 100 ms, measured 600 s ago"
    assert (found.age, found.probed) == (OLD, OLD + 30.0)


def test_only_a_rate_is_known() -> None:
    """What was not measured is not told."""
    health = Health()
    health.carried(Carried(5_000_000, 1.0), well=True, now=NOW)
    assert estimated(health, role=Role.BLOB).reason == "carries 5 MB/s"


@pytest.mark.parametrize(("role", "reason"), [(Role.API, "about 150 ms"), (Role.BLOB, "about 150 ms and 5 MB/s")])
def test_borrowed(role: Role, reason: str) -> None:
    """Borrowed evidence is told in round figures, with its source."""
    health = {("vpn", registry, role): measured() for registry in ("a", "b", "c", "d", "e", "f", "g", "h")}
    believed = known(health, ["vpn"], "hub", role, now=NOW)["vpn"]
    told = estimate(VPN, believed, HUB, role=role, typical=1.0, now=NOW).reason
    assert told.endswith(" by other registries")
    assert told.startswith("about ")
    assert ("MB/s" in told) is ("MB/s" in reason)
