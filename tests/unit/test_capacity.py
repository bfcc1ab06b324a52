"""What a number of descriptors can hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.core.capacity import MAX_PIPES, RESERVED, pipes_within, within
from towline.core.policy import LimitsPolicy

LIMITS = LimitsPolicy()


@given(descriptors=st.integers(0, 1_000_000), tunnels=st.integers(1, 100_000), heads=st.integers(1, 100_000))
def test_all_of_it_at_once_fits(descriptors: int, tunnels: int, heads: int) -> None:
    """Whatever is wanted and there: no more descriptors are needed than there are beyond the reserved ones."""
    wanted = LimitsPolicy(tunnels=tunnels, heads=heads)
    limits = within(wanted, descriptors)
    held = limits.tunnels * 3 + limits.heads + limits.dials * 2 + pipes_within(descriptors) * 2
    assert 0 <= held <= max(0, descriptors - RESERVED)
    assert limits.tunnels <= tunnels
    assert limits.heads <= heads


@pytest.mark.parametrize(
    ("descriptors", "tunnels", "heads", "dials", "pipes"),
    [(128, 10, 8, 8, 4), (1024, 178, 120, 120, 32), (20_000, 4096, 512, 512, 32)],
)
def test_a_small_a_usual_and_a_large_limit(descriptors: int, tunnels: int, heads: int, dials: int, pipes: int) -> None:
    """128 descriptors still serve; 1024 hold more than a hundred tunnels; with 20,000 nothing is lowered."""
    limits = within(LIMITS, descriptors)
    assert (limits.tunnels, limits.heads, limits.dials, pipes_within(descriptors)) == (tunnels, heads, dials, pipes)
    assert limits.drain == LIMITS.drain


def test_what_is_not_wanted_is_left_to_tunnels() -> None:
    """Few heads and dials leave room for more tunnels."""
    few = within(LimitsPolicy(heads=1, dials=1), 1024)
    assert few.tunnels == (1024 - RESERVED - 2 * MAX_PIPES - 1 - 2) // 3
