"""The table's verdict: what is asked of a row is held against what came of its pulls."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.faults.meter import Moved
from tests.faults.report import MIB, Clean, Line
from tests.faults.row import Asked, Row
from tests.faults.rows import BY_PROXY, CONNECT, CUTS, HOLD, nothing
from tests.faults.scene import Pull

CLEAN = Clean(seconds=3.0, fetched=64 * MIB)


def line(asked: Asked, *pulls: Pull, client: str = "ctr", slack: float = 0.0) -> Line:
    """A line of these pulls, each beside the same clean one."""
    row = Row("row", asked, BY_PROXY, nothing, clients=("docker", "ctr"), told=("skopeo",))
    return Line(row, client, [(pull, CLEAN) for pull in pulls], slack)


def pull(seconds: float = 3.0, fetched: int = 64 * MIB, releases: int = 0) -> Pull:
    """A pull that completed under a fault that struck."""
    moved = Moved(fetched, fetched)
    failovers = Counter(release=releases)
    return Pull(completed=True, landed=True, seconds=seconds, moved=moved, failovers=failovers)


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (line(CONNECT, pull(3.4)), "ok"),
        (line(CONNECT, pull(3.6)), "NO: 0.6 s over, 0.5 asked"),
        (line(CONNECT, pull(3.6), slack=1.0), "ok"),
        (line(CONNECT, pull(3.0), pull(9.0), pull(3.1)), "ok"),
        (line(CUTS, pull(8.4), client="docker"), "ok"),
        (line(CUTS, pull(8.6), client="docker"), "NO: 5.6 s over, 5.5 asked"),
        (line(HOLD, pull(releases=1)), "NO: 1 releases"),
        (line(CUTS, pull(releases=2, fetched=66 * MIB)), "ok"),
        (line(CUTS, pull(releases=2, fetched=67 * MIB)), "NO: fetched too much twice"),
        (line(CUTS, pull(), Pull(landed=True, words="failed: EOF")), "NO: 1 of 2 failed"),
        (line(CUTS, Pull(completed=True, seconds=3.0, moved=Moved(CLEAN.fetched, 0))), "NO: struck too late in 1"),
        (line(CUTS, Pull(landed=True, words="failed: EOF"), client="skopeo"), "told: 1 of 1 failed"),
    ],
)
def test_the_verdict_is_what_was_asked(made: Line, verdict: str) -> None:
    """Completed, in time, without a release too many or bytes twice; the median counts, not the worst."""
    assert made.verdict() == verdict


def test_a_line_shows_figures_and_the_reason_of_what_failed() -> None:
    """Pulls done of those tried, seconds over the clean pull, MiB fetched twice, failovers by phase."""
    shown = str(line(CUTS, pull(3.4, releases=3, fetched=65 * MIB), Pull(landed=True, words="failed: EOF")))
    expected = "row ctr 1/2 0.4 0.4 1.00 1.00 0/0/3 NO: 1 of 2 failed | failed: EOF"
    assert " ".join(shown.split()) == expected
