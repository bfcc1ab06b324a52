"""Figures are what their names say."""

from __future__ import annotations

import pytest
from tests.bench.policy.policy import Run, Transfer
from tests.bench.policy.report import WARM_UP, figures, over_all, table
from tests.bench.policy.trace import Request
from tests.bench.policy.world import Counts

from towline.types import Role


def ran(*seconds: float, failed: int = 0, role: Role = Role.BLOB, at: float = 0.0) -> Run:
    """Half an hour with these transfers at a time, the first of which failed."""
    transfers = tuple(Transfer(Request(at, "hub", role, 1), t, ok=i >= failed) for i, t in enumerate(seconds))
    return Run(transfers, Counts(switches=3, probes=2, probe_bytes=500), begins=0.0, hours=0.5)


def test_figures_are_multiples_of_the_oracle() -> None:
    """Sums over sums, over all seeds; a failure has its penalty of 60 s; counts are by the hour."""
    found = figures([ran(1.0, 3.0), ran(2.0, 6.0, failed=1)], [ran(1.0, 1.0), ran(1.0, 1.0)])
    assert found.mean == pytest.approx((1 + 3 + 62 + 6) / 4)
    assert (found.failed, found.switches_per_hour, found.probe_bytes_per_hour) == (1, 6.0, 1000.0)


def test_the_percentile_is_of_all_transfers() -> None:
    """Of a hundred, the ninety-fifth; of twenty, the nineteenth."""
    assert figures([ran(*range(1, 101))], [ran(*[1.0] * 100)]).p95 == 95.0
    assert figures([ran(*range(1, 21))], [ran(*[2.0] * 20)]).p95 == 9.5


def test_calls_are_told_apart() -> None:
    """Their mean has no layers in it; without calls it is as good as the oracle's."""
    mixed = [ran(2.0, role=Role.API), ran(100.0)]
    assert figures(mixed, [ran(1.0, role=Role.API), ran(100.0)]).calls == 2.0
    assert figures([ran(5.0)], [ran(1.0)]).calls == 1.0


def test_what_is_warm_is_told_apart() -> None:
    """Without the first five minutes; with them where there is nothing else."""
    found = figures([ran(9.0), ran(2.0, at=WARM_UP)], [ran(1.0), ran(1.0, at=WARM_UP)])
    assert found.mean == pytest.approx(5.5)
    assert found.warm == pytest.approx(2.0)
    assert figures([ran(9.0)], [ran(1.0)]).warm == pytest.approx(9.0)


def test_scenarios_count_alike() -> None:
    """Means of the figures, sums of the failures; the table has the best first."""
    good = figures([ran(1.0)], [ran(1.0)])
    bad = figures([ran(3.0, failed=1)], [ran(1.0)])
    both = over_all([good, bad])
    assert both.mean == pytest.approx((1 + 63) / 2)
    assert both.failed == 1
    told = table("title", {"bad": bad, "good": good}, good, oracle_failed=0)
    assert told.index("good") < told.index("bad")
