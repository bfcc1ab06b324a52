"""Memory by example: what is kept, what it is worth later, and what is not believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from towline.core.circuit import Circuit
from towline.core.classify import RegistrySpec
from towline.core.evidence import Carried
from towline.core.learned import Learned
from towline.core.memory import MOST, OLDEST, recalled, remembered
from towline.core.policy import FailoverPolicy, TargetPolicy
from towline.core.rank import rank
from towline.types import Classification, Role, RouteSpec, Target

THEN, NOW = 5000.0, 80.0  # seconds, each on the clock of its own process
HUB = RegistrySpec("hub", api=("registry.test",))


def learned() -> Learned:
    """A slow route, a fast one that fails, and what layers weigh."""
    learned = Learned()
    for route, seconds in (("direct", 0.4), ("vpn", 0.05)):
        health = learned.of(route, "hub", Role.BLOB)
        health.dialed(seconds, now=THEN - 10)
        health.answered(seconds, now=THEN - 10)
        health.carried(Carried(20_000_000, 20 * seconds), well=True, now=THEN - 5)
    for _ in range(4):
        learned.of("vpn", "hub", Role.BLOB).failed("refused", now=THEN)
    learned.moved("hub", Role.BLOB, 5_000_000)
    learned.of("office", "hub", Role.API).failed("refused", now=THEN)
    return learned


def through_a_file(learned: Learned, *, elapsed: float) -> Learned:
    """What is recalled of it after a time."""
    data = json.loads(json.dumps(remembered(learned, now=THEN)))
    again = recalled(data, elapsed=elapsed, now=NOW)
    assert again is not None
    return again


def test_kept() -> None:
    """Levels keep their value, certainty and age; shares and sizes are kept; what failed at the moment is not."""
    before, after = learned(), through_a_file(learned(), elapsed=30.0)
    assert after.health.keys() == {("direct", "hub", Role.BLOB), ("vpn", "hub", Role.BLOB)}, "what has no level is left"
    for key, health in after.health.items():
        was = before.health[key]
        for name in ("dial", "answer", "rate"):
            then = getattr(was, name).belief(now=THEN + 30.0)
            now = getattr(health, name).belief(now=NOW)
            assert (now.value, now.variance) == pytest.approx((then.value, then.variance), rel=0.001)
        assert health.tries.counts(now=NOW) == pytest.approx(was.tries.counts(now=THEN + 30.0), rel=0.01)
        assert health.circuit(now=NOW) is Circuit.CLOSED
    assert after.sizes == pytest.approx(before.sizes, rel=0.001)


def test_warm_start_ranks_right() -> None:
    """The first connection of the next process goes over the route that was the best."""
    memory = learned()
    del memory.health["vpn", "hub", Role.BLOB]
    fast = memory.of("vpn", "hub", Role.BLOB)
    for turn in range(3):
        fast.dialed(0.05, now=THEN - 30 + 10 * turn)
        fast.answered(0.05, now=THEN - 30 + 10 * turn)
    ranking = rank(
        Target("blobs.test", 443),
        Classification("hub", Role.BLOB, "", ""),
        [RouteSpec("direct"), RouteSpec("vpn")],
        through_a_file(memory, elapsed=3600.0),
        registry=HUB,
        policy=TargetPolicy(),
        failover=FailoverPolicy(),
        now=NOW,
    )
    assert ranking.candidates[0].route == "vpn"


def test_clock_set_back() -> None:
    """A wall clock that was set back makes nothing younger than it was when it was kept."""
    after = through_a_file(learned(), elapsed=-1e6)
    assert after.health["direct", "hub", Role.BLOB].dial.measured_at == pytest.approx(NOW - 10)


def test_old_and_many() -> None:
    """What is too old is left out, and of too many the oldest."""
    memory = Learned()
    memory.of("old", "hub", Role.API).dialed(0.1, now=THEN - OLDEST - 1)
    for number in range(MOST + 10):
        memory.of(f"route {number}", "hub", Role.API).dialed(0.1, now=THEN + number)
    kept = remembered(memory, now=THEN + MOST + 10)["health"]
    assert len(kept) == MOST
    assert {entry["route"] for entry in kept} == {f"route {number}" for number in range(10, MOST + 10)}


def changed(change: Callable[[Any], object]) -> object:
    """What was kept, with something changed in it."""
    data = json.loads(json.dumps(remembered(learned(), now=THEN)))
    change(data)
    return data


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        changed(lambda data: data.update(version=0)),
        changed(lambda data: data.pop("sizes")),
        changed(lambda data: data.update(health=7)),
        changed(lambda data: data.update(health=["vpn"])),
        changed(lambda data: data["health"][0].update(role="sink")),
        changed(lambda data: data["health"][0].update(route=7)),
        changed(lambda data: data["health"][0].update(successes=-1)),
        changed(lambda data: data["health"][0]["dial"].update(value=0)),
        changed(lambda data: data["health"][0]["dial"].update(age=float("nan"))),
        changed(lambda data: data["health"][0]["dial"].update(variance=True)),
        changed(lambda data: data["health"][0]["dial"].update(variance=1e9)),
        changed(lambda data: data["sizes"][0].update(bytes=10**12)),
    ],
)
def test_not_believed(data: object) -> None:
    """Data of another version, or with anything wrong in it, is nothing."""
    assert recalled(data, elapsed=0.0, now=NOW) is None


def test_what_is_not_known_is_passed_over() -> None:
    """A file that says more of a route, as earlier ones did of its loss, is read for the rest."""
    data = changed(lambda data: data["health"][0].update(loss=None))
    assert recalled(data, elapsed=0.0, now=NOW) == recalled(remembered(learned(), now=THEN), elapsed=0.0, now=NOW)
