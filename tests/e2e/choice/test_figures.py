"""The figures themselves: what counts as right, and what as a switch."""

from __future__ import annotations

import pytest
from tests.e2e.choice.figures import Choices, first_right, moves
from tests.e2e.choice.visits import TRIED, Pull, Visit


def visit(route: str | None, why: str = "", role: str = "blob") -> Visit:
    """A visit over a route."""
    return Visit(role, 0.0, ("127.0.0.1", 1), route=route, why=why)


def pull(*visits: Visit) -> Pull:
    """A pull of these visits."""
    return Pull(0.0, list(visits))


def test_a_wrong_route_and_none_count_against_the_share() -> None:
    """What failed chose nothing that was right, and what was tried counts as what it is."""
    visits = [visit("wide"), visit("quick", role="api"), visit(None), visit("poor", TRIED)]
    assert Choices(visits).share == pytest.approx(0.5)


def test_a_try_is_no_switch() -> None:
    """There and back again for a try moves nothing; another route after it does."""
    visits = [visit("wide"), visit("quick", TRIED), visit("wide"), visit(None), visit("poor")]
    assert [(one.route, two.route) for one, two in moves(visits)] == [("wide", "poor")]


def test_right_is_a_pull_that_is_followed_by_another() -> None:
    """One right pull between wrong ones is chance; of two in a row the first counts, and other roles do not."""
    wrong, right = pull(visit("quick"), visit("wide")), pull(visit("wide"), visit("poor", role="api"))
    tried = pull(visit("wide"), visit("poor", TRIED))
    assert first_right([right, wrong, right], {"blob": "wide"}) is None
    assert first_right([wrong, tried, right], {"blob": "wide"}) is tried
