"""When a probe may be asked for, by example."""

from __future__ import annotations

import math

from towline.core.inquiry import DEAD_PAUSES, REST, Inquiry

NOW = 100.0


def judged(inquiry: Inquiry, *, alive: bool, now: float = NOW) -> Inquiry:
    """A probe is asked for and judged."""
    inquiry.asked()
    inquiry.judged(alive=alive, now=now)
    return inquiry


def test_one_probe_at_a_time() -> None:
    """Until the verdict comes no other is asked for."""
    inquiry = Inquiry()
    assert inquiry.may_ask(NOW)
    assert inquiry.has_rested(NOW)
    inquiry.asked()
    assert not inquiry.may_ask(NOW)
    inquiry.judged(alive=True, now=NOW)
    assert inquiry.may_ask(NOW)


def test_a_verdict_that_was_not_awaited_does_not_count() -> None:
    """Another tunnel of the same host and route asked for it."""
    inquiry = Inquiry()
    inquiry.judged(alive=True, now=NOW)
    assert inquiry.alive == 0
    assert inquiry.has_rested(NOW)


def test_pauses_between_verdicts_that_find_the_route_dead() -> None:
    """They grow up to the last, and begin anew when something moved."""
    inquiry, now = Inquiry(), NOW
    for pause in (*DEAD_PAUSES, DEAD_PAUSES[-1]):
        judged(inquiry, alive=False, now=now)
        assert inquiry.next_times[0] == now + pause
        assert not inquiry.may_ask(now + pause - 0.1)
        now += pause
        assert inquiry.may_ask(now)
    judged(inquiry, alive=False, now=now).silence_ended()
    assert inquiry.may_ask(now)
    assert judged(inquiry, alive=False, now=now).next_times[0] == now + DEAD_PAUSES[0]


def test_rest_after_a_verdict_that_found_the_route_alive() -> None:
    """It is counted until something moves; the rest goes on, unless the tunnel earned to be suspected at once."""
    inquiry = judged(Inquiry(), alive=True)
    assert (inquiry.alive, inquiry.next_times) == (1, (-math.inf, NOW + REST))
    inquiry.silence_ended()
    assert inquiry.alive == 0
    assert not inquiry.has_rested(NOW + REST - 0.1)
    assert inquiry.has_rested(NOW + REST)
    inquiry.end_rest()
    assert inquiry.has_rested(NOW)
