"""Health by example: what a dial teaches, how failures weigh and fade, and when the circuit opens."""

from __future__ import annotations

import pytest

from towline.core.health import (
    COOL_DOWN,
    DIAL_HALF_LIFE,
    HALF_LIFE,
    MAX_COOL_DOWN,
    OPEN_AFTER,
    RECENT,
    UNMEASURED,
    Circuit,
    Health,
)


def failing(times: int, *, at: float = 0.0) -> Health:
    """A health whose last `times` attempts failed at `at`."""
    health = Health()
    for _ in range(times):
        health.failed("refused", now=at)
    return health


def test_nothing_known() -> None:
    """Without evidence a dial is taken to last UNMEASURED, nothing weighs and the circuit is closed."""
    health = Health()
    assert health.expected_dial(now=5.0) == UNMEASURED
    assert health.dial.usual() is None
    assert health.weight_of_failures(now=5.0) == 0.0
    assert health.circuit(now=5.0) is Circuit.CLOSED


def test_first_dial() -> None:
    """The first sample is the mean, half of it the deviation (RFC 6298 2.2), so dials usually stay within 3 means."""
    health = Health()
    health.dialed(0.1, now=10.0)
    assert health.expected_dial(now=10.0) == pytest.approx(0.1)
    assert health.dial.usual() == pytest.approx(0.3)
    assert (health.attempts, health.failures) == (1, 0)


def test_later_dials() -> None:
    """Later samples move the mean by an eighth and the deviation by a quarter of the error (RFC 6298 2.3)."""
    health = Health()
    health.dialed(0.1, now=0.0)
    health.dialed(0.9, now=1.0)
    assert health.expected_dial(now=1.0) == pytest.approx(0.2)
    assert health.dial.usual() == pytest.approx(0.2 + 4 * (0.05 + (0.8 - 0.05) / 4))


@pytest.mark.parametrize("seconds", [3.0, 0.01])
def test_measurements_fade(seconds: float) -> None:
    """A measured dial time fades toward UNMEASURED: half the way in a half-life, nearly all of it in ten."""
    health = Health()
    health.dialed(seconds, now=100.0)
    assert health.expected_dial(now=100.0 + DIAL_HALF_LIFE) == pytest.approx((seconds + UNMEASURED) / 2)
    assert health.expected_dial(now=100.0 + 10 * DIAL_HALF_LIFE) == pytest.approx(UNMEASURED, abs=0.01)


def test_failures_weigh_and_fade() -> None:
    """Two failures just now weigh 2, a half-life later 1, and after some minutes nothing."""
    health = failing(2, at=100.0)
    assert health.weight_of_failures(now=100.0) == 2.0
    assert health.weight_of_failures(now=100.0 + HALF_LIFE) == pytest.approx(1.0)
    assert health.weight_of_failures(now=100.0 + 8 * HALF_LIFE) == 0.0
    assert (health.attempts, health.failures, health.last_error, health.last_failure) == (2, 2, "refused", 100.0)


def test_dial_alone_is_no_success() -> None:
    """An established dial is measured, and the streak goes on: many a bad network lets that through and no more."""
    health = failing(OPEN_AFTER)
    health.dialed(0.1, now=1.0)
    assert health.circuit(now=1.0) is Circuit.OPEN
    assert health.streak == OPEN_AFTER


def test_answer_is_measured() -> None:
    """The time to the first byte is smoothed like a dial's; an answer that was not timed leaves it as it was."""
    health = Health()
    health.answered(None, now=1.0)
    assert health.answer.usual() is None
    health.answered(0.2, now=2.0)
    assert health.answer.usual() == pytest.approx(0.6)


@pytest.mark.parametrize(("age", "just_now"), [(0.0, True), (RECENT - 0.1, True), (RECENT, False)])
def test_failed_just_now(age: float, *, just_now: bool) -> None:
    """A failure is recent for RECENT seconds, unless something succeeded since."""
    health = failing(1, at=50.0)
    assert health.failed_just_now(now=50.0 + age) is just_now
    health.answered(None, now=50.0)
    assert not health.failed_just_now(now=50.0 + age)


def test_failure_weighs_what_it_is_told_to() -> None:
    """A failure that costs the client more adds more to the streak, and one to the counts."""
    health = Health()
    health.failed("silent", now=0.0, weight=2)
    assert (health.streak, health.in_a_row, health.failures, health.attempts) == (2, 1, 1, 1)


def test_answer_ends_the_streak() -> None:
    """One answer closes the circuit and lifts the weight; the counts remain."""
    health = failing(OPEN_AFTER)
    health.dialed(0.1, now=1.0)
    health.answered(0.1, now=1.0)
    assert health.circuit(now=1.0) is Circuit.CLOSED
    assert health.weight_of_failures(now=1.0) == 0.0
    assert (health.attempts, health.failures) == (OPEN_AFTER + 1, OPEN_AFTER)


@pytest.mark.parametrize(
    ("failures", "age", "expected"),
    [
        (OPEN_AFTER - 1, 0.0, Circuit.CLOSED),
        (OPEN_AFTER, 0.0, Circuit.OPEN),
        (OPEN_AFTER, COOL_DOWN - 0.1, Circuit.OPEN),
        (OPEN_AFTER, COOL_DOWN, Circuit.HALF_OPEN),
        (OPEN_AFTER + 1, COOL_DOWN, Circuit.OPEN),
        (OPEN_AFTER + 1, 2 * COOL_DOWN, Circuit.HALF_OPEN),
        (2000, MAX_COOL_DOWN - 0.1, Circuit.OPEN),
        (2000, MAX_COOL_DOWN, Circuit.HALF_OPEN),
    ],
)
def test_circuit(failures: int, age: float, expected: Circuit) -> None:
    """The circuit opens after OPEN_AFTER failures, and its cool-down doubles with each further one up to a limit."""
    assert failing(failures, at=50.0).circuit(now=50.0 + age) is expected


def test_failure_while_half_open() -> None:
    """A half-open circuit that fails again is open again, for longer."""
    health = failing(OPEN_AFTER)
    assert health.circuit(now=COOL_DOWN) is Circuit.HALF_OPEN
    health.failed("timeout 3.0 s", now=COOL_DOWN)
    assert health.circuit(now=COOL_DOWN + 1.5 * COOL_DOWN) is Circuit.OPEN
    assert health.last_error == "timeout 3.0 s"
