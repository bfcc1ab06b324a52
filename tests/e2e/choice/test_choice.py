"""Towline's choices over three routes that differ, in short: `python -m tests.e2e.choice` measures at length."""

from __future__ import annotations

import pytest
from tests.e2e.choice.explained import HOSTS, explain, missing
from tests.e2e.choice.figures import RIGHT
from tests.e2e.choice.measures import choices, flapping, noise, warm
from tests.e2e.choice.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

WARM_UP = 4.0  # seconds of pulls


def test_tunnels_choose_what_is_right_for_their_role(stage: Stage) -> None:
    """Once warm, 99 of 100 tunnels take the low delay for API and tokens, and the high rate for layers.

    For a host of each role `explain` tells the rule, the role, each route's estimate, its evidence and age, and why.
    """
    with warm(stage, WARM_UP) as visitor:
        result = choices(visitor, tunnels=100)
        print(result)
        assert result.share >= 0.99
        for host in HOSTS:
            answer = explain(stage, host)
            print(answer)
            assert missing(answer) == []


def test_a_flapping_route_is_not_followed(stage: Stage) -> None:
    """While the best route is there for half a second and away for the next, no role goes to and fro with it."""
    result = flapping(stage, RIGHT["blob"], warm_up=WARM_UP, seconds=10)
    print(result)
    assert not result.failed
    assert max(result.by_role.values()) <= 2  # of the 4 that a minute may have: away from it, and back once


def test_noise_moves_nothing(stage: Stage) -> None:
    """Between two equal routes that are restless, at most one switch."""
    result = noise(stage, warm_up=WARM_UP, seconds=6)
    print(result)
    assert not result.failed
    assert max(result.by_role.values()) <= 1
