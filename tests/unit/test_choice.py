"""Choices by example: what stays, what moves, what is explored, and how often at most."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from towline.core.choice import (
    COLD_SHARE,
    FAILING,
    LEAST_MARGIN,
    LOSS,
    MARGIN,
    MOST_DOUBT,
    PAUSE,
    RESTLESS,
    SHARE,
    SURE,
    Choice,
    explored,
    settled,
)
from towline.types import Candidate, Estimate

NOW = 1000.0  # seconds


@dataclass
class Dice:
    """Chance as a test wants it."""

    number: float = 0.0

    def random(self) -> float:
        """The next number."""
        return self.number


def candidate(
    route: str,
    seconds: float,
    *,
    deviation: float = 0.0,
    noise: float = 0.0,
    failure: float = 0.0,
    circuit: str = "closed",
) -> Candidate:
    """A route with its estimate."""
    estimate = Estimate(
        seconds=seconds,
        deviation=deviation,
        noise=noise,
        dial=0.0,
        first_byte=0.0,
        rate=1e6,
        bytes=0.0,
        failure=failure,
        circuit=circuit,
        age=None,
        probed=None,
        reason="measured",
    )
    return Candidate(route, seconds, "measured", 0.25, estimate=estimate)


def first(*ranked: Candidate, present: Choice | None = None, family: tuple[str, ...] = ()) -> str:
    """The route to take first."""
    return settled(ranked, present, family, now=NOW)[0].route


def test_nothing_to_choose_from() -> None:
    """Of none comes none, and of one that one."""
    assert settled([], None, (), now=NOW) == ()
    one = candidate("vpn", 1.0)
    assert settled([one], Choice("direct", NOW), (), now=NOW) == (one,)
    assert explored([one], None, Dice(), now=NOW) == (one,)


def test_best_is_taken() -> None:
    """Without a present choice the best is, and its reason stays as it was."""
    ranked = (candidate("vpn", 1.0), candidate("direct", 1.0))
    assert settled(ranked, None, (), now=NOW) == ranked
    assert settled(ranked, Choice("office", NOW), (), now=NOW) == ranked, "the choice may not serve any more"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1.0 - MARGIN / 2, "direct"), (1.0 - 2 * MARGIN, "vpn")],
)
def test_margin(seconds: float, expected: str) -> None:
    """The present choice stays until another is better by the margin; then its reason says why it stayed."""
    ranked = (candidate("vpn", seconds), candidate("direct", 1.0))
    kept, other = settled(ranked, Choice("direct", 0.0), (), now=NOW)
    assert kept.route == expected
    assert {kept.route, other.route} == {"vpn", "direct"}
    assert (kept.reason == "measured; vpn is not better by enough to move") is (expected == "direct")


def test_present_choice_that_is_the_best() -> None:
    """It stays, and needs no reason for that beside its own."""
    ranked = candidate("vpn", 0.5), candidate("direct", 1.0)
    assert settled(ranked, Choice("vpn", 0.0), (), now=NOW) == ranked


def test_least_margin() -> None:
    """Of calls that take a moment, some milliseconds are no reason to move."""
    near = candidate("vpn", 0.05), candidate("direct", 0.05 + LEAST_MARGIN * 0.9)
    assert first(*near, present=Choice("direct", 0.0)) == "direct"
    assert first(candidate("vpn", 0.05), candidate("direct", 0.08), present=Choice("direct", 0.0)) == "vpn"


def test_noise_widens_the_margin() -> None:
    """Estimates that scatter have to be apart by more, up to a bound."""
    noisy = candidate("vpn", 0.85, noise=0.1), candidate("direct", 1.0, noise=0.1)
    assert MARGIN + SURE * 0.1 * 2**0.5 > 0.15
    assert first(*noisy, present=Choice("direct", 0.0)) == "direct"
    wild = candidate("vpn", 0.99 - MARGIN - MOST_DOUBT, noise=1.0), candidate("direct", 1.0, noise=1.0)
    assert first(*wild, present=Choice("direct", 0.0)) == "vpn"


def test_restless() -> None:
    """What has moved three times in a moment stays where it is for some time, unless it fails."""
    present = Choice("direct", NOW - 200.0)
    for ago, route in ((2.0, "vpn"), (1.0, "direct"), (0.0, "vpn")):
        present = present.moved(route, now=NOW - ago)
    better = candidate("direct", 0.1)
    assert first(better, candidate("vpn", 1.0), present=present) == "vpn"
    assert first(better, candidate("vpn", 1.0, failure=FAILING), present=present) == "direct"
    assert first(better, candidate("vpn", 1.0, circuit="open"), present=present) == "direct"
    calm = Choice(present.route, NOW - RESTLESS, present.moves)
    assert first(better, candidate("vpn", 1.0), present=calm) == "direct"


def test_moves_are_counted_and_fade() -> None:
    """A choice of the same route is the same choice; each of another one is a move."""
    choice = Choice("vpn", 0.0)
    assert choice.moved("vpn", now=5.0) is choice
    moved = choice.moved("direct", now=10.0)
    assert (moved.route, moved.at, moved.moves) == ("direct", 10.0, 1.0)
    assert moved.restlessness(now=10.0 + RESTLESS) == pytest.approx(0.5)


def test_family() -> None:
    """Of routes that are close, the one that the registry's other hosts are reached over is taken, and says so."""
    close = candidate("vpn", 0.98), candidate("direct", 1.0)
    kept, _ = settled(close, None, ("direct",), now=NOW)
    assert (kept.route, kept.reason) == ("direct", "measured; taken for the registry's other hosts as well")
    assert first(candidate("vpn", 0.5), candidate("direct", 1.0), family=("direct",)) == "vpn", (
        "evidence moves them apart"
    )
    assert first(*close, family=("office",)) == "vpn"


def test_open_circuit() -> None:
    """A route whose circuit is open is neither kept nor taken for the family, unless all are open."""
    ranked = candidate("vpn", 1.0), candidate("direct", 1.0, circuit="open")
    assert first(*ranked, present=Choice("direct", 0.0), family=("direct",)) == "vpn"
    both = candidate("vpn", 1.0, circuit="open"), candidate("direct", 1.0, circuit="open")
    assert first(*both, present=Choice("direct", 0.0)) == "direct"


def tried(*candidates: Candidate, number: float, last: float | None = None) -> bool:
    """Whether another route than the first is explored, as chance falls."""
    return explored(candidates, last, Dice(number), now=NOW)[0].route != candidates[0].route


GOOD = candidate("vpn", 1.0, deviation=0.1)
HOPEFUL = candidate("direct", 1.2, deviation=0.6)


def test_exploring() -> None:
    """A route that may be faster and is hardly known is taken now and then, and says so; the rest keeps its order."""
    last = candidate("office", 3.0)
    order = explored((GOOD, last, HOPEFUL), None, Dice(0.0), now=NOW)
    assert [one.route for one in order] == ["direct", "vpn", "office"]
    assert order[0].reason == "measured; tried, for it may be faster"
    assert not tried(GOOD, HOPEFUL, number=0.99)


@pytest.mark.parametrize(
    "one",
    [
        candidate("direct", 1.2, deviation=0.1),
        candidate("direct", 4.0, deviation=1.5),
        candidate("direct", 1.2, deviation=0.6, circuit="open"),
    ],
    ids=["well known", "too slow", "open"],
)
def test_not_worth_a_try(one: Candidate) -> None:
    """A route that is well known, that can hardly be faster, or that rests, is never explored."""
    assert not tried(GOOD, one, number=0.0)


def test_exploring_costs_a_bounded_share() -> None:
    """The share of tunnels that explore is what LOSS pays for, and no more than SHARE."""
    dear = candidate("direct", 1.5, deviation=0.9)
    assert tried(GOOD, dear, number=LOSS * 1.0 / 0.5 * 0.99)
    assert not tried(GOOD, dear, number=LOSS * 1.0 / 0.5 * 1.01)
    cheap = candidate("direct", 0.99, deviation=0.6)
    assert tried(GOOD, cheap, number=SHARE * 0.99)
    assert not tried(GOOD, cheap, number=SHARE * 1.01)


def test_pause_between_two_tries() -> None:
    """One at a time: what the last one found is waited for."""
    assert not tried(GOOD, HOPEFUL, number=0.0, last=NOW - PAUSE + 1)
    assert tried(GOOD, HOPEFUL, number=0.0, last=NOW - PAUSE)


def test_cold_start() -> None:
    """While nothing is known every route is a guess: more are tried, and none waits for another."""
    guess = candidate("vpn", 1.0, deviation=1.5)
    other = candidate("direct", 1.0, deviation=1.5)
    assert tried(guess, other, number=COLD_SHARE * 0.99, last=NOW)
    assert not tried(guess, other, number=COLD_SHARE * 1.01, last=NOW)


def test_candidates_without_estimates() -> None:
    """What was ranked by nothing but seconds is chosen by them."""
    plain = Candidate("vpn", 0.5, "", 0.25), Candidate("direct", 1.0, "", 0.25)
    assert first(*plain, present=Choice("direct", 0.0)) == "vpn"
    assert explored(plain, None, Dice(), now=NOW) == plain
