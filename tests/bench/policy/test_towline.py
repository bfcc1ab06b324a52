"""Towline's adapter does what the proxy does around the core: by hand, on traces of a few lines."""

from __future__ import annotations

import pytest
from tests.bench.policy.policy import Run, Transfer, run
from tests.bench.policy.towline import Towline
from tests.bench.policy.trace import Line, Network, Request, State, Trace
from tests.bench.policy.world import Paths

from towline.types import Role

RATE = 1_000_000.0
GOOD = State(0.0, "good", 0.1, 0.2, RATE)
DOWN = State(0.0, "down", None, None, 0.0)
MUTE = State(0.0, "mute", 0.05, None, RATE)


def play(*lines: Line) -> Run:
    """Run Towline over a few lines."""
    return run(Paths(Trace.of(lines)), Towline())


def transfers(*lines: Line) -> tuple[Transfer, ...]:
    """What came of each request."""
    return play(*lines).transfers


def layer(t: float, megabytes: float) -> Request:
    """A request for a blob."""
    return Request(t, "hub", Role.BLOB, int(megabytes * 1e6))


def call(t: float) -> Request:
    """A request that is made once."""
    return Request(t, "hub", Role.API, 1000)


def test_a_transfer_takes_its_phases() -> None:
    """0.1 to connect, 0.2 for the first byte, 3 for three megabytes."""
    (transfer,) = transfers(GOOD, layer(5.0, 3))
    assert transfer.ok
    assert transfer.seconds == pytest.approx(3.3)


def test_the_next_route_is_dialled_beside_a_silent_one() -> None:
    """After 250 ms, not after the dial's own end; and the next tunnel does not begin there again."""
    first, second = transfers(DOWN, GOOD, call(5.0), call(6.0))
    assert first.seconds == pytest.approx(0.25 + 0.301)
    assert second.seconds == pytest.approx(0.301)
    assert second.ways == ("good",)


def test_a_first_flight_is_replayed() -> None:
    """A route that connects and says nothing holds the client for its patience, 1.5 s, and never fails it."""
    (transfer,) = transfers(MUTE, GOOD, call(5.0))
    assert transfer.ok
    assert transfer.ways == ("good",)
    assert transfer.seconds == pytest.approx(0.05 + 1.5 + 0.301)


def test_all_routes_down_is_a_failure() -> None:
    """Within the budget of a call, 5 s."""
    (transfer,) = transfers(DOWN, call(5.0))
    assert not transfer.ok
    assert transfer.seconds == pytest.approx(5.0, abs=0.2)


def test_a_layer_on_a_dead_route_is_released_and_goes_on() -> None:
    """Silent for 2 s, found dead by a probe of 1.8 s, released; dockerd is back 5 s later for what is left."""
    dies = [State(0.0, "first", 0.05, 0.1, RATE), State(10.0, "first", None, None, 0.0)]
    (transfer,) = transfers(*dies, GOOD, layer(5.0, 20))
    had = 10.0 - 5.15
    assert transfer.ok
    assert transfer.ways == ("first", "good")
    assert transfer.seconds == pytest.approx(5.0 + 2.0 + 1.8 + 5.0 + 0.3 + (20 - had), abs=1.0)


def test_a_layer_that_stands_still_is_released() -> None:
    """Its route answers probes: after 8 s it is this connection's fault, and the other route serves the rest."""
    stalls = [State(0.0, "first", 0.05, 0.1, RATE), State(10.0, "first", 0.05, 0.1, RATE, stall=True)]
    (transfer,) = transfers(*stalls, GOOD, layer(5.0, 20))
    assert transfer.ok
    assert transfer.ways[0] == "first"
    assert transfer.ways[-1] == "good"
    assert transfer.seconds < 60.0


def test_a_client_that_leaves_ends_its_tunnel() -> None:
    """A call that trickles ends after its 15 s, failed."""
    (transfer,) = transfers(State(0.0, "slow", 0.1, 0.2, 10.0), call(5.0))
    assert not transfer.ok
    assert transfer.seconds == pytest.approx(15.0)


def test_probes_find_the_wider_route() -> None:
    """One route answers sooner, the other carries more: once it was read over, layers go over that."""
    quick = State(0.0, "quick", 0.01, 0.02, RATE / 10)
    wide = State(0.0, "wide", 0.1, 0.2, 10 * RATE)
    played = play(quick, wide, call(5.0), layer(6.0, 0.1), *(layer(60.0 + i, 10) for i in range(3)), call(70.0))
    assert [transfer.ways for transfer in played.transfers[-4:]] == [("wide",)] * 3 + [("quick",)]
    assert played.counts.probe_bytes > 0


def test_nothing_is_probed_before_anyone_asks() -> None:
    """A trace with one request at its end has no probe before that."""
    assert play(GOOD, DOWN, call(5000.0)).counts.probes <= 2


def test_another_network_is_told() -> None:
    """The line of a network puts what was learned in doubt, and does not end the run."""
    moved = [State(0.0, "first", 0.05, 0.1, RATE), State(100.0, "first", None, None, 0.0)]
    lines: list[Line] = [*moved, GOOD, Network(100.0, "cafe"), call(50.0), call(101.0), call(130.0)]
    assert all(transfer.ok for transfer in transfers(*lines))
