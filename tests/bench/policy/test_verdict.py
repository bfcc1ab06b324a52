"""The verdict says what is met and what is not."""

from __future__ import annotations

from tests.bench.policy.bench import Result
from tests.bench.policy.report import Figures
from tests.bench.policy.towline import Towline
from tests.bench.policy.verdict import verdict


def row(mean: float, *, failed: int = 0, switches: float = 0.0) -> Figures:
    """The figures of a policy."""
    return Figures(mean, mean, mean, mean, failed, switches, 0.0)


def scenario(name: str, changing: bool, mine: Figures, its: Figures) -> Result:
    """What came of a scenario with one other policy."""
    return Result(name, changing, {Towline.name: mine, "other": its}, row(1.0), 0, 10, "")


def marks(*results: Result) -> list[bool]:
    """Whether each thing is met."""
    return [line.split("  ")[1].strip() == "met" for line in verdict(results)]


def test_all_is_met() -> None:
    """Steady, changing, all, behind nobody, failures, switches."""
    good = scenario("apart", False, row(1.04, switches=6.0), row(1.0))
    assert marks(good, scenario("b", True, row(1.19), row(1.3, failed=1))) == [True] * 6


def test_what_is_not_met_is_told() -> None:
    """Each line has what was measured."""
    bad = scenario("apart", False, row(1.3, failed=2, switches=9.0), row(1.1, failed=1))
    assert marks(bad) == [False] * 5
    told = "\n".join(verdict([bad]))
    for text in ("1.300, 1.05 at most", "apart 1.300 to 1.100 (other)", "2 failed", "9.0 switches an hour on apart"):
        assert text in told


def test_any_trace_has_a_verdict() -> None:
    """One that nobody calls steady or changing is compared with the others alone."""
    unseen = Result("x.jsonl", None, {Towline.name: row(1.0), "other": row(2.0)}, row(1.0), 0, 1, "")
    assert marks(unseen) == [True] * 3
