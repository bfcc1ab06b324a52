"""When changes are acted upon, how far a returning interface is trusted, and how a sleep is noticed."""

from __future__ import annotations

import pytest

from towline.core.settling import (
    APART,
    ASLEEP,
    GATHER,
    HOLD,
    LATE,
    MAX_HOLD,
    MAX_INTERFACES,
    REMEMBERED,
    Dampening,
    Settling,
    Sleep,
)


def test_a_burst_is_one_action() -> None:
    """Events of one moment are gathered, and acted upon when the moment is over."""
    settling = Settling()
    assert not settling.take(now=1.0)
    for event in (10.0, 10.1, 10.4):
        settling.note(now=event)
    assert settling.due == 10.0 + GATHER
    assert not settling.take(now=10.0 + GATHER - 0.01)
    assert settling.take(now=10.0 + GATHER)
    assert settling.due is None
    assert not settling.take(now=20.0)


def test_looks_that_led_to_an_action_stand_apart() -> None:
    """The next change waits for its turn, and a later one after a quiet time does not."""
    settling = Settling()
    settling.note(now=10.0)
    assert settling.take(now=11.0)
    settling.acted(now=11.0)
    settling.note(now=11.2)
    assert settling.due == 11.0 + APART
    assert settling.take(now=15.0)
    settling.note(now=60.0)
    assert settling.due == 60.0 + GATHER


def test_a_look_that_found_nothing_delays_none() -> None:
    """A container's interface must not hide a VPN that goes a moment later."""
    settling = Settling()
    settling.note(now=10.0)
    assert settling.take(now=10.5)
    settling.note(now=10.6)
    assert settling.due == 10.6 + GATHER


def test_one_departure_is_forgiven() -> None:
    """A VPN that was restarted counts as back at once, and so does an interface that never went."""
    dampening = Dampening()
    dampening.note(gone=["wg0"], come=[], now=10.0)
    dampening.note(gone=[], come=["wg0", "eth0"], now=12.0)
    assert dampening.distrusts("wg0", now=12.0) is None
    assert dampening.distrusts("eth0", now=12.0) is None


def test_who_keeps_going_is_on_trial() -> None:
    """Each further departure doubles the time for which it has to stay, up to a bound; then it counts as back."""
    dampening = Dampening()
    holds = []
    for round_ in range(8):
        went = 10.0 * round_
        dampening.note(gone=["wg0"], come=[], now=went)
        dampening.note(gone=[], come=["wg0"], now=went + 1)
        tried = (second for second in range(200) if dampening.distrusts("wg0", now=went + 1 + second) is None)
        holds.append(next(tried))
    assert holds == [0, HOLD, 2 * HOLD, 4 * HOLD, 8 * HOLD, MAX_HOLD, MAX_HOLD, MAX_HOLD]
    assert dampening.distrusts("wg0", now=72.0) == "interface wg0 went 8 times of late, 59 s on trial"
    assert dampening.distrusts("wg0", now=72.0 + REMEMBERED) is None


def test_made_anew_is_a_departure() -> None:
    """An interface that went and came in one moment is on trial like any other."""
    dampening = Dampening()
    for now in (10.0, 20.0):
        dampening.note(gone=["wg0"], come=["wg0"], now=now)
    assert dampening.distrusts("wg0", now=20.0) is not None


def test_few_interfaces_are_remembered() -> None:
    """The latest ones: containers' come and go without end."""
    dampening = Dampening()
    for number in range(MAX_INTERFACES + 1):
        for _ in range(2):
            dampening.note(gone=[f"br{number}"], come=[f"br{number}"], now=10.0)
    assert dampening.distrusts("br0", now=10.0) is None
    assert dampening.distrusts("br1", now=10.0) is not None


@pytest.mark.parametrize(
    ("late", "gained", "lost"),
    [
        (0.0, 0.0, 0.0),
        (-2.0, 0.0, 0.0),
        (LATE - 0.1, ASLEEP - 0.1, 0.0),
        (60.0, 0.0, 60.0),
        (0.0, 3600.0, 3600.0),
        (30.0, 3600.0, 3630.0),
    ],
)
def test_sleep(late: float, gained: float, lost: float) -> None:
    """A clock that gains and a timer that is late both tell of it; what a busy machine does is not worth a word."""
    sleep = Sleep(now=100.0, with_sleep=5000.0)
    due = 103.0
    now = due + late
    assert sleep.measure(due=due, now=now, with_sleep=5000.0 + now - 100.0 + gained) == pytest.approx(lost)
    assert sleep.measure(due=now, now=now, with_sleep=5000.0 + now - 100.0 + gained) == 0.0
