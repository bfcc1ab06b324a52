"""Transfers, the client's patience and the oracle: by hand, on traces of a few lines."""

from __future__ import annotations

import pytest
from tests.bench.policy import client
from tests.bench.policy.oracle import BestFixed, Oracle
from tests.bench.policy.peers_simple import FirstThatWorks, RoundRobin
from tests.bench.policy.policy import Policy, Run, run
from tests.bench.policy.trace import Line, Request, State, Trace
from tests.bench.policy.world import Paths

from towline.types import Role


def play(policy: Policy, *lines: Line) -> Run:
    """Run a policy over a few lines."""
    return run(Paths(Trace.of(lines)), policy)


def seconds(policy: Policy, *lines: Line) -> list[float]:
    """What each transfer took; negative where it failed."""
    return [t.seconds if t.ok else -t.seconds for t in play(policy, *lines).transfers]


def layer(t: float, size: int) -> Request:
    """A request that is made again."""
    return Request(t, "hub", Role.BLOB, size)


def call(t: float) -> Request:
    """A request that is made once."""
    return Request(t, "hub", Role.API, 100)


GOOD = State(0.0, "good", 0.1, 0.2, 1000.0)
DOWN = State(0.0, "down", None, None, 0.0)
MUTE = State(0.0, "mute", 0.1, None, 1000.0)


def test_a_transfer_takes_its_phases() -> None:
    """0.1 to connect, 0.2 for the first byte, 3 for 3000 bytes."""
    assert seconds(FirstThatWorks(), GOOD, layer(5.0, 3000)) == [pytest.approx(3.3)]


def test_the_next_route_is_dialled_after_five_seconds() -> None:
    """A dial that nobody answers is given up, and the next route serves."""
    assert seconds(FirstThatWorks(), DOWN, GOOD, layer(5.0, 3000)) == [pytest.approx(8.3)]


def test_a_call_fails_at_once_and_a_layer_comes_back() -> None:
    """No answer in 10 s is an error: a call has failed then, a layer is asked for again after 5, 10, 15 and 20 s."""
    assert seconds(RoundRobin(), MUTE, call(0.0)) == [pytest.approx(-10.1)]
    five = 5 * 10.1 + 5 + 10 + 15 + 20
    assert seconds(RoundRobin(), MUTE, layer(0.0, 10)) == [pytest.approx(-five)]
    assert seconds(RoundRobin(), MUTE, GOOD, layer(0.0, 10)) == [pytest.approx(10.1 + 5 + 0.31)]


def test_a_call_ends_after_fifteen_seconds() -> None:
    """However far it came."""
    trickling = State(0.0, "slow", 0.1, 0.2, 1.0)
    assert seconds(RoundRobin(), trickling, call(0.0)) == [pytest.approx(-15.0)]
    assert seconds(RoundRobin(), DOWN, call(0.0)) == [pytest.approx(-15.0)]


def test_a_connect_is_given_up_after_a_minute() -> None:
    """The layer's second attempt finds the other route."""
    assert seconds(RoundRobin(), DOWN, GOOD, layer(0.0, 1000)) == [pytest.approx(60 + 5 + 1.3)]


def test_a_layer_that_stands_still_fails_after_five_minutes_and_goes_on() -> None:
    """Silence of 300 s is a failure; what came before is not fetched again."""
    stalling = State(10.0, "good", 0.1, 0.2, 1000.0, stall=True)
    other = State(0.0, "other", 0.1, 0.2, 1000.0)
    # 10.3 - 0.3 = 9.7 s of bytes until 10.0, silence until 310, 5 s of pause, then 10,300 more bytes
    assert seconds(RoundRobin(), GOOD, other, stalling, layer(0.0, 20_000)) == [pytest.approx(315 + 0.3 + 10.3)]


def test_switches_are_counted_for_each_registry_and_role() -> None:
    """Only a tunnel that goes another way than the one before it, to the same, is a switch."""
    other = State(0.0, "other", 0.1, 0.2, 1000.0)
    played = play(RoundRobin(), GOOD, other, layer(0.0, 1), call(10.0), layer(20.0, 1), layer(30.0, 1))
    assert played.counts.switches == 1  # blob over good, good, other; api over other


def test_the_oracle_takes_what_is_done_first() -> None:
    """Small things over the quick route, large ones over the wide one."""
    quick = State(0.0, "quick", 0.01, 0.01, 100.0)
    wide = State(0.0, "wide", 0.5, 0.5, 1000.0)
    assert seconds(Oracle(), quick, wide, layer(0.0, 10), layer(0.0, 1000)) == [pytest.approx(0.12), pytest.approx(2.0)]


def test_the_oracle_sees_what_comes() -> None:
    """A route that is the best now and stops in the middle is not taken; one is that comes back while it is dialled."""
    stops = State(0.0, "stops", 0.1, 0.1, 2000.0)
    stopped = State(1.2, "stops", None, None, 0.0)
    back = State(30.0, "stops", 0.1, 0.1, 2000.0)
    steady = State(0.0, "steady", 0.1, 0.1, 500.0)
    assert seconds(Oracle(), stops, stopped, back, steady, layer(0.0, 4000)) == [pytest.approx(8.2)]
    assert seconds(Oracle(), stops, stopped, back, steady, layer(28.0, 4000)) == [pytest.approx(4.2)]


def test_the_best_fixed_route_is_one_for_all() -> None:
    """Layers all go over the route that is the best for them together; calls have their own."""
    quick = State(0.0, "quick", 0.01, 0.01, 100.0)
    wide = State(0.0, "wide", 0.5, 0.5, 1000.0)
    asked = [layer(0.0, 10), layer(0.0, 1000), call(50.0)]
    assert seconds(BestFixed(), quick, wide, *asked) == [pytest.approx(x) for x in (1.01, 2.0, 1.02)]


def test_a_failure_has_its_penalty() -> None:
    """It costs the time it took and a minute."""
    (transfer,) = play(RoundRobin(), MUTE, call(0.0)).transfers
    assert transfer.cost == pytest.approx(10.1 + client.PENALTY)
