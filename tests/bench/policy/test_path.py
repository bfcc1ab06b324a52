"""When things are done on a path: by hand, on traces of a few lines."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bench.policy.path import Path, Work
from tests.bench.policy.trace import State


def path(*states: tuple[float, float | None, float | None, float, bool]) -> Path:
    """A path of (t, connect, first_byte, rate, stall)."""
    return Path([State(t, "r", connect, first_byte, rate, stall) for t, connect, first_byte, rate, stall in states])


def test_phases_take_what_the_line_says() -> None:
    """On a route that does not change a transfer takes connect + first_byte + bytes / rate."""
    steady = path((0.0, 0.5, 0.25, 1000.0, False))
    assert steady.connected(1.0) == pytest.approx(1.5)
    assert steady.answered(1.5) == pytest.approx(1.75)
    assert steady.body.finished(1.75, 500) == pytest.approx(2.25)


def test_a_body_follows_its_rate() -> None:
    """1000 bytes/s for 2 s, then 100: of 2500 bytes, 500 remain, which take 5 s."""
    slowing = path((0.0, 0.1, 0.1, 1000.0, False), (10.0, 0.1, 0.1, 100.0, False))
    assert slowing.body.finished(8.0, 2500) == pytest.approx(15.0)
    assert slowing.body.done_by(15.0) - slowing.body.done_by(8.0) == pytest.approx(2500)


def test_a_stall_and_a_death_stop_a_body() -> None:
    """Nothing comes from 10 to 40, whether the line says `stall` or `connect: null`; then it goes on."""
    for connect, stall in ((0.1, True), (None, False)):
        stopping = path(
            (0.0, 0.1, 0.1, 100.0, False), (10.0, connect, 0.1, 100.0, stall), (40.0, 0.1, 0.1, 100.0, False)
        )
        assert stopping.body.finished(5.0, 1000) == pytest.approx(45.0)
        assert stopping.body.last_moved(25.0) == 10.0
        assert stopping.body.last_moved(5.0) == 5.0


def test_a_silent_route_goes_on_with_what_flows() -> None:
    """`first_byte: null` keeps new tunnels waiting; a body that has begun is not touched."""
    silent = path((0.0, 0.1, None, 100.0, False), (10.0, 0.1, 0.5, 100.0, False))
    assert silent.connected(0.0) == pytest.approx(0.1)
    assert silent.answered(1.0) == pytest.approx(10.5)
    assert silent.body.finished(0.0, 500) == pytest.approx(5.0)


def test_a_dial_goes_on_when_the_route_is_back() -> None:
    """A dial that began half of its time before a death has the other half to go after it."""
    back = path((0.0, 1.0, 0.1, 1.0, False), (10.0, None, None, 0.0, False), (20.0, 2.0, 0.1, 1.0, False))
    assert back.connected(9.5) == pytest.approx(21.0)


def test_a_dead_end_is_never_done() -> None:
    """What waits for a route that never comes back waits for ever, and one without any line was never there."""
    dead = path((0.0, 0.1, 0.1, 100.0, False), (10.0, None, None, 0.0, False))
    assert dead.body.finished(9.0, 101) == math.inf
    assert dead.connected(11.0) == math.inf
    assert Path([]).connected(0.0) == math.inf
    assert path((5.0, 1.0, 1.0, 1.0, False)).connected(0.0) == pytest.approx(6.0)  # not there before its first line


def test_silence_is_found() -> None:
    """The first time that nothing moved for so long, counted from the start or from the last byte."""
    work = Work([0.0, 10.0, 50.0, 60.0], [1.0, 0.0, 1.0, 0.0])
    assert work.stood_still(5.0, 1000.0, 30.0) == 40.0
    assert work.stood_still(20.0, 1000.0, 25.0) == 45.0
    assert work.stood_still(20.0, 1000.0, 35.0) == 95.0
    assert work.stood_still(5.0, 39.0, 30.0) == math.inf
    assert work.stood_still(5.0, 60.0, 50.0) == math.inf


SPEEDS = st.lists(st.sampled_from([0.0, 1.0, 64.0]), min_size=1, max_size=6)


@given(SPEEDS, st.floats(0, 60), st.floats(0.1, 500))
def test_what_is_finished_was_done(speeds: list[float], start: float, amount: float) -> None:
    """Where work ends, as much has been done since its start; where it never ends, less ever will be."""
    work = Work([10.0 * i for i in range(len(speeds))], speeds)
    end = work.finished(start, amount)
    if end == math.inf:
        assert work.done_by(1e6) - work.done_by(start) < amount
    else:
        assert work.done_by(end) - work.done_by(start) == pytest.approx(amount)
