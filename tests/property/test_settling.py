"""Whatever comes when: changes are looked at soon, acted upon not too often, and none is lost."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from towline.core.settling import APART, GATHER, Settling

STEP = 0.125  # seconds between two looks at the clock; exact in binary, like GATHER and APART
STEPS = st.lists(st.integers(0, 400), max_size=60).map(sorted)


@given(STEPS, st.randoms(use_true_random=False))
def test_no_change_is_lost_and_actions_stand_apart(events: list[int], random: Random) -> None:
    """Each event is followed by a look, within GATHER of it or APART of the last action, and not before that."""
    settling = Settling()
    looks: list[float] = []
    actions: list[float] = [-APART]
    for step in range(440):
        now = step * STEP
        for _ in range(events.count(step)):
            settling.note(now=now)
        if settling.take(now=now):
            assert now >= actions[-1] + APART
            looks.append(now)
            if random.random() < 0.5:
                settling.acted(now=now)
                actions.append(now)
    for event in events:
        at = event * STEP
        following = next(look for look in looks if look >= at)
        before = max(action for action in actions if action < following)
        assert following <= max(at + GATHER, before + APART)
