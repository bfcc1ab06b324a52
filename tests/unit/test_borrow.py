"""Borrowing by example: who lends to whom, how much, and what failures elsewhere mean here."""

from __future__ import annotations

import pytest

from towline.core.borrow import (
    NOTHING,
    RATE_BY_DELAY,
    SUSPICION,
    UNMEASURED_DIAL,
    UNMEASURED_RATE,
    UNTRIED,
    Known,
    known,
)
from towline.core.evidence import Carried, Finding
from towline.core.health import MISLEADING, Health, Key
from towline.core.level import COHERENCE
from towline.types import Role, Target

NOW = 1000.0  # seconds


def measured(
    dial: float | None = None, *, rate: float | None = None, times: int = 5, at: float = NOW, answers: int = 0
) -> Health:
    """A route with steady measurements."""
    health = Health()
    for turn in range(times):
        then = at - COHERENCE * (times - 1 - turn)
        if dial is not None:
            health.dialed(dial, now=then)
        if rate is not None:
            health.carried(Carried(round(10 * rate), 10.0), well=True, now=then)
    for _ in range(answers):
        health.answered(None, now=at)
    return health


def failing(times: int, *, at: float = NOW) -> Health:
    """A route that failed so often in a row."""
    health = Health()
    for _ in range(times):
        health.failed("refused", now=at)
    return health


def believed(health: dict[Key, Health], route: str = "vpn", *, role: Role = Role.API) -> Known:
    """What is believed of a route for the registry `hub`."""
    return known(health, ("direct", "vpn"), "hub", role, now=NOW)[route]


def test_nothing_known() -> None:
    """Without any evidence everything is middling."""
    one = believed({})
    assert (one.dial.value, one.rate.value) == pytest.approx((UNMEASURED_DIAL, UNMEASURED_RATE))
    assert (one.failure, one.own, one.lent) == (UNTRIED, None, NOTHING)


def test_own_evidence() -> None:
    """A route with fresh evidence of its own borrows next to nothing."""
    one = believed({("vpn", "hub", Role.API): measured(0.05), ("vpn", "quay", Role.API): measured(2.0)})
    assert one.dial.value == pytest.approx(0.05, rel=0.25)
    assert one.lent == ""


def test_own_evidence_that_is_old() -> None:
    """What was measured a day ago gives way to what other registries show now."""
    old = measured(0.05, at=NOW - 86_400.0)
    one = believed({("vpn", "hub", Role.API): old, ("vpn", "quay", Role.API): measured(1.0)})
    assert 0.5 < one.dial.value < 1.0


@pytest.mark.parametrize(
    ("nearer", "lent"), [(True, "by its other hosts"), (False, "by other registries")], ids=["roles", "registries"]
)
def test_circles(*, nearer: bool, lent: str) -> None:
    """A route without evidence here borrows from the registry's other roles, else from other registries."""
    health: dict[Key, Health] = {("vpn", "quay", Role.BLOB): measured(1.0)}
    if nearer:
        health["vpn", "hub", Role.BLOB] = measured(0.04)
    one = believed(health)
    assert one.lent == lent
    assert (one.dial.value < 0.15) is nearer


def test_nearer_circle_is_surer() -> None:
    """What another role of the registry lends is surer than what other registries do; its own is surest."""
    circles: list[Key] = [("vpn", "hub", Role.API), ("vpn", "hub", Role.BLOB), ("vpn", "quay", Role.API)]
    variances = [believed({key: measured(0.1)}).dial.variance for key in circles]
    assert variances == sorted(variances)
    assert variances[0] < variances[2]


def test_unmeasured_is_middling() -> None:
    """A route that nobody measured is between what was measured of others and what is taken for granted."""
    for dial in (0.02, 2.0):
        one = believed({("direct", "hub", Role.API): measured(dial)})
        low, high = sorted((dial, UNMEASURED_DIAL))
        assert low < one.dial.value < high


def test_rates_are_lent_by_bulk_alone() -> None:
    """Where nothing was carried, delay tells a little of the rate; where something was, it tells it."""
    far = believed({("vpn", "quay", Role.API): measured(3.0)}, role=Role.BLOB)
    assert far.rate.value == pytest.approx(UNMEASURED_RATE * (UNMEASURED_DIAL / far.dial.value) ** RATE_BY_DELAY)
    slow = believed({("vpn", "quay", Role.BLOB): measured(rate=1e5)}, role=Role.BLOB)
    assert slow.rate.value < 1e6


def test_failures_of_its_own() -> None:
    """The share of failures approaches what happened here."""
    health = measured(0.1, answers=20)
    assert believed({("vpn", "hub", Role.API): health}).failure < UNTRIED
    lossy = Health()
    for turn in range(20):
        if turn % 2:
            lossy.failed("reset", now=NOW)
        lossy.answered(None, now=NOW)
    assert believed({("vpn", "hub", Role.API): lossy}).failure == pytest.approx(0.3, abs=0.05)


def test_failures_elsewhere() -> None:
    """A route that fails often for other registries is taken to fail here, until it shows otherwise."""
    bad = Health()
    for _ in range(10):
        bad.failed("reset", now=NOW - 300)
    bad.answered(None, now=NOW - 300)
    elsewhere: dict[Key, Health] = {("vpn", "quay", Role.API): bad}
    assert 0.3 < believed(elsewhere).failure < believed({("vpn", "hub", Role.AUTH): bad}).failure
    assert believed(elsewhere | {("vpn", "hub", Role.API): measured(0.1, answers=20)}).failure < 0.05


def test_cut_layers_say_nothing_of_small_answers() -> None:
    """Failures at blob hosts count at blob hosts alone; failures at API hosts count everywhere."""
    bad = Health()
    for _ in range(10):
        bad.cut("upstream reset", now=NOW - 300, weight=2)
    for registry in ("hub", "quay"):
        assert believed({("vpn", registry, Role.BLOB): bad}).failure == pytest.approx(UNTRIED)
        assert believed({("vpn", registry, Role.API): bad}, role=Role.BLOB).failure > 0.3


def test_probes_that_traffic_disproved() -> None:
    """Where traffic of any role has disproved probes, what they tell of the registry's hosts counts nothing."""
    failed = Finding("vpn", Target("registry.test", 443), "hub", Role.API, ok=False, detail="refused")
    api, blob = Health(), Health()
    for turn in range(8):
        api.probed(failed, at_fault=True, now=NOW - 80 + 10 * turn)
    health: dict[Key, Health] = {("vpn", "hub", Role.API): api, ("vpn", "hub", Role.BLOB): blob}
    assert believed(health).failure > 0.5
    blob.misled = MISLEADING
    assert believed(health).failure == pytest.approx(UNTRIED)


@pytest.mark.parametrize(("failures", "failure"), [(1, None), (2, 0.5), (3, 0.75)])
def test_streak(failures: int, failure: float | None) -> None:
    """One failure says little, each further one in a row halves the hope that the route is up."""
    health = measured(0.1, answers=24)
    for _ in range(failures):
        health.failed("refused", now=NOW)
    found = believed({("vpn", "hub", Role.API): health}).failure
    assert found < 0.1 if failure is None else found == pytest.approx(failure)


@pytest.mark.parametrize("since", [True, False])
def test_streak_elsewhere(*, since: bool) -> None:
    """What fails in a row at the registry's other hosts is suspected here in part, unless it did well here since."""
    here = measured(0.1, answers=24, at=NOW if since else NOW - 20)
    down: dict[Key, Health] = {("vpn", "hub", Role.AUTH): failing(6, at=NOW - 10)}
    found = believed(down | {("vpn", "hub", Role.API): here}).failure
    assert found < 0.2 if since else found == pytest.approx(SUSPICION * 0.9, rel=0.1)
