"""The pace against any intervals and sizes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from towline.core.pace import Pace


@given(
    looks=st.lists(st.tuples(st.floats(0.01, 40.0), st.integers(0, 1_000_000)), min_size=1, max_size=60),
    window=st.floats(5.0, 60.0),
)
def test_pace(looks: list[tuple[float, int]], window: float) -> None:
    """The rate is 0 until the window is full, then lies between the least and the greatest of any part of it."""
    pace = Pace(window)
    pace.note(0.0, 0)
    now, total = 0.0, 0
    rates: list[float] = []
    for seconds, size in looks:
        now, total = now + seconds, total + size
        rates.append(size / seconds)
        pace.note(now, total)
        if now < window:
            assert pace.rate == 0
        else:
            assert min(rates) * 0.999 <= pace.rate <= max(rates) * 1.001
