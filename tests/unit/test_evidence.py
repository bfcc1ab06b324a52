"""Evidence by example."""

from __future__ import annotations

import pytest

from towline.core.evidence import Carried


@pytest.mark.parametrize(("carried", "rate"), [(Carried(10_000_000, 2.0), 5e6), (Carried(1000, 0.0), 0.0)])
def test_rate(carried: Carried, rate: float) -> None:
    """Bytes over the seconds that they took; none where they took none."""
    assert carried.rate == rate
