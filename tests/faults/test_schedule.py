"""Whatever routes and visitors do, no byte goes astray."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.faults.ground import ROUTES, Ground
from tests.faults.pattern import End, Errand, Way
from tests.faults.schedule import AFTER, KINDS, SIZES, Schedule, Step, check, play, random_schedule

RANDOM_SECONDS = 15.0
SHORT_SECONDS = 1.0
SHORT_PATIENCE = 3.0  # seconds for a visit of a short schedule
EXAMPLES = 6  # of about two seconds each

pytestmark = pytest.mark.timeout(300)

errands = st.builds(
    Errand,
    way=st.sampled_from(Way),
    up=st.sampled_from(SIZES[:-1]),
    down=st.sampled_from(SIZES),
    slow=st.booleans(),
    leaves_after=st.none() | st.sampled_from(AFTER),
    half_closes=st.booleans(),
)
orders: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"fault": st.sampled_from(KINDS), "after": st.sampled_from(AFTER)}),
    st.fixed_dictionaries({"freeze": st.sampled_from(["all", "one"])}),
    st.just({"heal": True}),
)
steps = st.builds(
    Step,
    at=st.floats(0.0, SHORT_SECONDS, width=16),
    act=errands | st.tuples(st.sampled_from(ROUTES), orders),
)
schedules = st.lists(steps, min_size=1, max_size=12).map(lambda made: sorted(made, key=lambda step: step.at))


def test_a_random_schedule_holds(ground: Ground) -> None:
    """What holds in an hour holds in a few seconds."""
    schedule = random_schedule(random.Random(20261124), RANDOM_SECONDS)
    history = asyncio.run(play(schedule, ground))
    assert not list(check(history))
    assert {one.end for one in history.visited} >= {End.WHOLE, End.CUT}


@given(schedule=schedules)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_short_schedules_hold(ground: Ground, schedule: Schedule) -> None:
    """Hypothesis looks for a schedule that breaks it, and shrinks what it finds."""
    assert not list(check(asyncio.run(play(schedule, ground, patience=SHORT_PATIENCE))))
