"""The rate of a path by example: what slow start, a busy process and a burst make of it, and what is told instead."""

from __future__ import annotations

import pytest

from towline.core.arrivals import APART, SKIPPED, STRETCH, Arrivals
from towline.core.evidence import Carried

SEGMENT = 1460
MIB = 1024 * 1024


def flights(rate: float, round_trip: float, total: int) -> Carried:
    """A reading in TCP's slow start: ten segments, then twice as many each round trip, all at the rate of the link."""
    arrivals = Arrivals(received=9_000)
    now = free = 0.0
    arrivals.measure(now=now)
    window, sent = 10, 0
    while sent < total:
        for _ in range(window):
            free = max(now, free) + SEGMENT / rate
            arrivals.read(SEGMENT)
            arrivals.all_read(now=free)
            sent += SEGMENT
        now, window = max(now + round_trip, free), 2 * window
    carried = arrivals.carried(now=free)
    assert carried is not None
    return carried


@pytest.mark.parametrize("rate", [100_000.0, 1_250_000.0, 12_500_000.0])
@pytest.mark.parametrize("round_trip", [0.01, 0.05, 0.2])
def test_slow_start_does_not_hide_the_rate(rate: float, round_trip: float) -> None:
    """A quarter of a MiB tells 0.8, 10 and 100 Mbit/s apart over any distance, though it takes the same round trips."""
    assert flights(rate, round_trip, 256 * 1024).rate == pytest.approx(rate, rel=0.05)


def test_without_the_skipped_bytes_a_burst_counts() -> None:
    """What a token bucket lets through at once at the beginning is left out."""
    arrivals = Arrivals()
    arrivals.measure(now=0.0)
    for now, size in [(0.001, SKIPPED), *((0.001 + n * 0.1, 10_000) for n in range(1, 20))]:
        arrivals.read(size)
        arrivals.all_read(now=now)
    carried = arrivals.carried(now=1.901)
    assert carried is not None
    assert carried.rate == pytest.approx(100_000)


def test_bytes_that_waited_to_be_read_look_no_faster() -> None:
    """This process was busy for a second: what it then reads at once took that second to come."""
    arrivals = Arrivals()
    arrivals.measure(now=0.0)
    for now in (0.1, 0.2):
        arrivals.read(SKIPPED)
        arrivals.all_read(now=now)
    for _ in range(64):
        arrivals.read(16 * 1024)  # one after the other, without a wait
    arrivals.all_read(now=1.2)
    carried = arrivals.carried(now=1.2)
    assert carried is not None
    assert carried.rate == pytest.approx(MIB / 1.0)


def test_a_slow_reading_is_told_as_a_whole() -> None:
    """It has no stretch, and needs none: its seconds were the path's."""
    arrivals = Arrivals()
    arrivals.measure(now=1.0)
    arrivals.read(20_000)
    arrivals.all_read(now=2.0)
    assert arrivals.carried(now=5.0) == Carried(20_000, 4.0)


def test_a_reading_without_a_wait_is_told_as_a_whole() -> None:
    """On a route that is faster than this process."""
    arrivals = Arrivals()
    arrivals.measure(now=1.0)
    arrivals.read(MIB)
    assert arrivals.carried(now=1.5) == Carried(MIB, 0.5)


def test_a_short_reading_tells_nothing() -> None:
    """A layer too small to leave slow start."""
    arrivals = Arrivals()
    arrivals.measure(now=1.0)
    arrivals.read(20_000)
    assert arrivals.carried(now=1.1) is None


def test_only_what_comes_after_the_beginning_counts() -> None:
    """The handshake is not measured, and not remembered."""
    arrivals = Arrivals()
    arrivals.read(5_000)
    arrivals.all_read(now=0.5)
    assert arrivals._moments == []
    arrivals.measure(now=1.0)
    assert arrivals.carried(now=3.0) == Carried(0, 2.0)


def test_moments_are_few() -> None:
    """However small the pieces are that bytes come in."""
    arrivals = Arrivals()
    arrivals.measure(now=0.0)
    for n in range(STRETCH):
        arrivals.read(1)
        arrivals.all_read(now=float(n))
    assert len(arrivals._moments) <= STRETCH // APART + 1
