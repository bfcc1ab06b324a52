"""Whatever comes when: changes are acted upon soon, not too often, and none is lost."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from towline.core.settling import APART, GATHER, Settling

STEP = 0.125  # seconds between two looks at the clock; exact in binary, like GATHER and APART
STEPS = st.lists(st.integers(0, 400), max_size=60).map(sorted)


@given(STEPS)
def test_no_change_is_lost_and_actions_stand_apart(events: list[int]) -> None:
    """Each event is followed by an action, within GATHER of it or APART of the one before, and those are APART."""
    settling = Settling()
    actions: list[float] = []
    for step in range(440):
        for _ in range(events.count(step)):
            settling.note(now=step * STEP)
        if settling.take(now=step * STEP):
            actions.append(step * STEP)
    assert all(later - earlier >= APART for earlier, later in pairwise(actions))
    for event in events:
        at = event * STEP
        following = next(action for action in actions if action >= at)
        before = max((action for action in actions if action < at), default=-APART)
        assert following <= max(at + GATHER, before + APART)
