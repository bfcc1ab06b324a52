"""The short form of the fault suite: one pull of a part of the rows (`make faults` plays all of them, ten times)."""

from __future__ import annotations

import pytest
from tests.faults.report import Line
from tests.faults.row import Row
from tests.faults.rows import ROWS
from tests.faults.suite import Suite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

SLACK = 2.0  # seconds: this is one pull on a busy machine, and not the median of ten


@pytest.mark.parametrize("row", [row for row in ROWS if row.short], ids=lambda row: row.name)
def test_a_pull_survives(row: Row, suite: Suite) -> None:
    """The pull completes with the right digest, in the time and with no more releases and bytes than are allowed."""
    assert row.short is not None
    line = Line(row, row.short, slack=SLACK)
    line.pulls.append(suite.play(row, row.short))
    print(line)  # pytest shows it beside a failed test and nowhere else
    for record in line.pulls[0][0].log:
        print(record)
    assert line.verdict() == "ok"
