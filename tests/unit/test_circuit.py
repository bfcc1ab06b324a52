"""The circuit by example: how failures weigh and fade, when they open it, for how long, and what closes it."""

from __future__ import annotations

import pytest

from towline.core.circuit import (
    COOL_DOWN,
    HALF_LIFE,
    MAX_COOL_DOWN,
    OPEN_AFTER,
    RECENT,
    TRIP_HALF_LIFE,
    Circuit,
    Streak,
)


def failing(times: int, *, at: float = 0.0, cut: bool = False) -> Streak:
    """A streak of failures, all at one time."""
    streak = Streak()
    for _ in range(times):
        streak.failed(now=at, weight=1, cut=cut)
    return streak


def test_nothing_failed() -> None:
    """Without failures nothing weighs and the circuit is closed."""
    streak = Streak()
    assert (streak.faded(now=5.0), streak.circuit(now=5.0), streak.failed_just_now(now=5.0)) == (
        0.0,
        Circuit.CLOSED,
        False,
    )


def test_failures_weigh_and_fade() -> None:
    """Two failures just now weigh 2, a half-life later 1, and after some minutes nothing."""
    streak = failing(2, at=100.0)
    assert streak.faded(now=100.0) == 2.0
    assert streak.faded(now=100.0 + HALF_LIFE) == pytest.approx(1.0)
    assert streak.faded(now=100.0 + 8 * HALF_LIFE) == 0.0


def test_confirmed_failures_do_not_fade() -> None:
    """What is seen to go on weighs on, and its rest is over when it would have been."""
    streak = failing(OPEN_AFTER)
    streak.confirmed(now=10 * HALF_LIFE)
    assert streak.faded(now=10 * HALF_LIFE) == OPEN_AFTER
    assert streak.circuit(now=COOL_DOWN) is Circuit.HALF_OPEN


def test_failure_weighs_what_it_is_told_to() -> None:
    """A failure that costs the client more weighs more and is still one."""
    streak = Streak()
    streak.failed(now=0.0, weight=2, cut=False)
    assert (streak.weight, streak.in_a_row) == (2, 1)


@pytest.mark.parametrize(("age", "just_now"), [(0.0, True), (RECENT - 0.1, True), (RECENT, False)])
def test_failed_just_now(age: float, *, just_now: bool) -> None:
    """A failure is recent for RECENT seconds, unless the route answered since."""
    streak = failing(1, at=50.0)
    assert streak.failed_just_now(now=50.0 + age) is just_now
    streak.answered()
    assert not streak.failed_just_now(now=50.0 + age)


@pytest.mark.parametrize(
    ("failures", "age", "expected"),
    [
        (OPEN_AFTER - 1, 0.0, Circuit.CLOSED),
        (OPEN_AFTER, 0.0, Circuit.OPEN),
        (OPEN_AFTER, COOL_DOWN - 0.1, Circuit.OPEN),
        (OPEN_AFTER, COOL_DOWN, Circuit.HALF_OPEN),
        (OPEN_AFTER + 1, 2 * COOL_DOWN - 0.1, Circuit.OPEN),
        (OPEN_AFTER + 1, 2 * COOL_DOWN, Circuit.HALF_OPEN),
        (1000, MAX_COOL_DOWN - 0.1, Circuit.OPEN),
        (1000, MAX_COOL_DOWN, Circuit.HALF_OPEN),
    ],
)
def test_circuit(failures: int, age: float, expected: Circuit) -> None:
    """Failures in a row open the circuit; the cool-down doubles with each, up to its bound."""
    assert failing(failures).circuit(now=age) is expected


def test_answer_ends_silence_and_no_cuts() -> None:
    """An answer closes a circuit that silence opened; one that cuts opened it leaves, for it came before each cut."""
    silent, cuts = failing(OPEN_AFTER), failing(OPEN_AFTER, cut=True)
    for streak in (silent, cuts):
        streak.answered()
    assert (silent.circuit(now=1.0), silent.in_a_row) == (Circuit.CLOSED, 0)
    assert (cuts.circuit(now=1.0), cuts.in_a_row) == (Circuit.OPEN, OPEN_AFTER)


def test_carrying_ends_both() -> None:
    """A route that carried much is well."""
    streak = failing(OPEN_AFTER, cut=True)
    streak.failed(now=0.0, weight=2, cut=False)
    streak.carried()
    assert (streak.circuit(now=0.0), streak.weight, streak.in_a_row) == (Circuit.CLOSED, 0, 0)


def test_coming_and_going_is_damped() -> None:
    """Each time that the circuit opens again soon it stays open for longer; after a while that is forgiven."""
    streak, cool_downs, now = Streak(), [], 0.0
    for _ in range(4):
        for _ in range(OPEN_AFTER):
            streak.failed(now=now, weight=1, cut=False)
        cool_downs.append(streak.cool_down)
        now += streak.cool_down
        streak.answered()
    assert cool_downs == sorted(cool_downs)
    assert cool_downs[-1] > 4 * COOL_DOWN
    now += 20 * TRIP_HALF_LIFE
    for _ in range(OPEN_AFTER):
        streak.failed(now=now, weight=1, cut=False)
    assert streak.cool_down == pytest.approx(COOL_DOWN, rel=0.01)


def test_forgiven() -> None:
    """What failed on another network weighs nothing, and leaves no damping behind."""
    streak = failing(OPEN_AFTER)
    streak.forgiven()
    assert streak == Streak(tripped_at=0.0, last_failure=0.0)
