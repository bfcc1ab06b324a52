"""The race by example: when dials start, what a failure does, who wins, and how it ends."""

from __future__ import annotations

import pytest
from tests.unit.playbook import Event, at, begin, established, failed, play, refusal, woken

from towline.core.policy import FailoverPolicy
from towline.core.race import LAST_WORD, Cancel, Dial, Finish, Race, Wake
from towline.types import Attempt, Blame, Candidate, Outcome, OutcomeKind, Phase

DEADLINE = 10.0  # seconds: the budget of every race here, which begins at 0
DIALS_END = DEADLINE * (1 - LAST_WORD)
DELAY = 0.25  # seconds


def new_race(*routes: str, max_parallel: int = 3, dial_timeout: float = 60.0, delay: float = DELAY) -> Race:
    """A race of these routes, best first."""
    candidates = [Candidate(route, 0.0, "", delay) for route in routes]
    return Race(candidates, FailoverPolicy(max_parallel=max_parallel, dial_timeout=dial_timeout), budget=DEADLINE)


def success(seconds: float) -> Outcome:
    """The outcome of the winner."""
    return Outcome(OutcomeKind.ESTABLISHED, Phase.ESTABLISHED, Blame.NONE, seconds, "established")


def overtaken(seconds: float, winner: str) -> Outcome:
    """The outcome of a loser."""
    detail = f"no answer in {seconds:.2f} s, {winner} was faster"
    return Outcome(OutcomeKind.CANCELLED, Phase.CONNECT, Blame.NONE, seconds, detail)


def timeout(seconds: float) -> Outcome:
    """The outcome of an attempt that the race's deadline ended."""
    return Outcome(OutcomeKind.TIMEOUT, Phase.CONNECT, Blame.ROUTE, seconds, f"timeout {seconds:.1f} s")


@pytest.mark.parametrize("max_parallel", [1, 3])
def test_one_route_that_answers(max_parallel: int) -> None:
    """The only route is dialled, has all the time there is, answers and wins."""
    race = play(
        new_race("direct", max_parallel=max_parallel),
        at(0.0, begin, Dial("direct", DIALS_END), Wake(DEADLINE)),
        at(0.5, established("direct"), Finish("direct")),
    )
    assert race.finished
    assert race.attempts == (Attempt("direct", 0.0, success(0.5)),)


def test_best_route_answers_in_its_pause() -> None:
    """A route that answers within its pause wins without another being dialled."""
    race = play(
        new_race("direct", "vpn"),
        at(0.0, begin, Dial("direct", DIALS_END), Wake(DELAY)),
        at(0.2, established("direct"), Finish("direct")),
    )
    assert [attempt.route for attempt in race.attempts] == ["direct"]


def test_next_route_after_the_pause() -> None:
    """When the pause is over the next is dialled beside the first; the faster wins and the other is cancelled."""
    race = play(
        new_race("direct", "vpn"),
        at(0.0, begin, Dial("direct", DIALS_END), Wake(DELAY)),
        at(0.25, woken, Dial("vpn", DIALS_END), Wake(DEADLINE)),
        at(0.5, established("vpn"), Cancel("direct"), Finish("vpn")),
    )
    assert race.attempts == (
        Attempt("direct", 0.0, overtaken(0.5, "vpn")),
        Attempt("vpn", 0.25, success(0.25)),
    )


def test_first_route_may_still_win() -> None:
    """The head start is no verdict: the first route wins though the second is under way."""
    play(
        new_race("direct", "vpn"),
        at(0.0, begin, Dial("direct", DIALS_END), Wake(DELAY)),
        at(0.25, woken, Dial("vpn", DIALS_END), Wake(DEADLINE)),
        at(0.5, established("direct"), Cancel("vpn"), Finish("direct")),
    )


def test_next_route_at_once_after_a_failure() -> None:
    """A failure starts the next dial at once, and its pause counts from there."""
    race = play(
        new_race("direct", "vpn", "office"),
        at(0.0, begin, Dial("direct", DIALS_END), Wake(0.25)),
        at(0.125, failed("direct"), Dial("vpn", DIALS_END), Wake(0.375)),
        at(0.375, woken, Dial("office", DIALS_END), Wake(DEADLINE)),
        at(0.5, established("office"), Cancel("vpn"), Finish("office")),
    )
    assert [str(attempt) for attempt in race.attempts] == [
        "direct: refused",
        "vpn: no answer in 0.38 s, office was faster",
        "office: established",
    ]


def test_all_routes_fail() -> None:
    """When the last route has failed the race is over, well before its deadline, with every outcome."""
    race = play(
        new_race("direct", "vpn"),
        at(0.0, begin, Dial("direct", DIALS_END), Wake(DELAY)),
        at(0.125, failed("direct", "refused"), Dial("vpn", DIALS_END), Wake(DEADLINE)),
        at(0.25, failed("vpn", "network unreachable"), Finish(None)),
    )
    assert race.attempts == (
        Attempt("direct", 0.0, refusal(0.125)),
        Attempt("vpn", 0.125, refusal(0.125, "network unreachable")),
    )


def test_no_route() -> None:
    """Without candidates the race is over as it begins."""
    assert play(new_race(), at(0.0, begin, Finish(None))).attempts == ()


def test_parallel_dials_are_bounded() -> None:
    """A full race starts nothing at the end of a pause; the next starts when one fails."""
    play(
        new_race("a", "b", "c", max_parallel=2),
        at(0.0, begin, Dial("a", DIALS_END / 2), Wake(0.25)),
        at(0.25, woken, Dial("b", 0.25 + DIALS_END / 2), Wake(DEADLINE)),
        at(0.5, failed("a"), Dial("c", 0.5 + DIALS_END / 2), Wake(DEADLINE)),
    )


def test_one_at_a_time() -> None:
    """With room for one dial the routes are tried in turn, each with its share of the budget."""
    play(
        new_race("a", "b", max_parallel=1),
        at(0.0, begin, Dial("a", DIALS_END / 2), Wake(DEADLINE)),
        at(4.0, failed("a"), Dial("b", 4.0 + DIALS_END / 2), Wake(DEADLINE)),
        at(5.0, failed("b"), Finish(None)),
    )


def test_pauses_shrink_with_the_number_of_routes() -> None:
    """Where the pauses would not fit into the budget each route gets an equal share of it."""
    play(
        new_race("a", "b", "c", "d", delay=5.0, max_parallel=4),
        at(0.0, begin, Dial("a", DIALS_END), Wake(DIALS_END / 4)),
    )


def test_dial_timeout() -> None:
    """A dial has no longer than the policy's timeout, and none at all past the end of dials."""
    play(
        new_race("a", "b", dial_timeout=6.0, delay=4.5),
        at(0.0, begin, Dial("a", 6.0), Wake(4.5)),
        at(4.5, woken, Dial("b", DIALS_END), Wake(DEADLINE)),
    )


def test_deadline() -> None:
    """At the deadline whatever is under way has timed out."""
    race = play(
        new_race("direct", "vpn"),
        at(0.0, begin, Dial("direct", DIALS_END), Wake(DELAY)),
        at(0.5, woken, Dial("vpn", DIALS_END), Wake(DEADLINE)),
        at(DEADLINE, woken, Cancel("direct"), Cancel("vpn"), Finish(None)),
    )
    assert race.attempts == (Attempt("direct", 0.0, timeout(10.0)), Attempt("vpn", 0.5, timeout(9.5)))


def test_no_dial_without_time_left() -> None:
    """A failure just before the deadline starts nothing: the race is over, and what was not tried is not blamed."""
    race = play(
        new_race("direct", "vpn", max_parallel=1),
        at(0.0, begin, Dial("direct", DIALS_END / 2), Wake(DEADLINE)),
        at(DIALS_END, failed("direct"), Finish(None)),
    )
    assert [attempt.route for attempt in race.attempts] == ["direct"]


def test_woken_too_early() -> None:
    """A timer that fires early changes nothing; the wish is repeated."""
    play(
        new_race("direct", "vpn"),
        at(0.0, begin, Dial("direct", DIALS_END), Wake(DELAY)),
        at(0.24, woken, Wake(DELAY)),
        at(0.25, woken, Dial("vpn", DIALS_END), Wake(DEADLINE)),
    )


@pytest.mark.parametrize("late", [established("direct"), failed("direct"), woken])
def test_after_the_finish(late: Event) -> None:
    """What comes after the finish commands nothing and changes no outcome."""
    race = play(
        new_race("direct", "vpn"),
        at(0.0, begin, Dial("direct", DIALS_END), Wake(DELAY)),
        at(0.25, woken, Dial("vpn", DIALS_END), Wake(DEADLINE)),
        at(0.5, established("vpn"), Cancel("direct"), Finish("vpn")),
    )
    before = race.attempts
    play(race, at(0.6, late))
    assert race.attempts == before


def test_times_count_from_the_beginning() -> None:
    """The race keeps the caller's clock: deadlines are on it, offsets count from the beginning."""
    race = new_race("direct")
    assert race.begin(now=1000.0) == [Dial("direct", 1000.0 + DIALS_END), Wake(1000.0 + DEADLINE)]
    assert race.deadline == 1000.0 + DEADLINE
    race.established("direct", now=1000.5)
    assert race.attempts == (Attempt("direct", 0.0, success(0.5)),)
