"""Which of the ranked routes is taken: the present choice keeps its place, until another is better beyond doubt.

settled    the order by seconds, with three reasons to put another route first than the one of the fewest seconds:
           1. the present choice stays unless another is better by a margin, which is wider the more the estimates
              scatter: noise moves nothing. And it stays where it has just moved three times, unless it fails.
           2. where it does move, it prefers the route that the registry's other hosts are reached over: sessions
              and signed addresses may be bound to where a client comes from.
           3. a route whose circuit is open is never taken while there is another.
explored   a small share of blob tunnels goes over a route that might well be faster and was not measured of late.
           How often is bounded by what it may cost: never more than LOSS of a transfer's time in the mean.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from towline.core.circuit import Circuit, fading
from towline.types import Candidate

MARGIN = 0.05  # share of the present choice's seconds that another has to be better by; our choice, like those below
LEAST_MARGIN = 0.02  # seconds: what nobody notices is no reason to move
SURE = 1.5  # times the noise of both estimates that it has to be better by, beyond that
MOST_DOUBT = 0.25  # share of the present choice's seconds that noise adds to the margin at most
RESTLESS = 60.0  # seconds in which half of what an earlier move weighs has faded
MOST_MOVES = 1.7  # moves of late from which on it stays put: three within some seconds, then one in 40 s
FAILING = 0.5  # probability of failure from which on nothing keeps it
SHARE = 0.1  # of blob tunnels, at most, that explore
LOSS = 0.01  # share of a transfer's time that exploring may cost in the mean
PAUSE = 300.0  # seconds from one tunnel of a registry that explores to the next: by then it has told what it found
COLD_SHARE = 0.5  # likewise, while nothing is known: then one guess is as good as another
COLD = 0.5  # deviation of the first route, as a share of its seconds, from which on all are guesses, and nothing waits
STALE = 0.3  # deviation, as a share of the seconds, from which on a route is worth exploring
HOPE = 1.0  # deviations that a route may be better than expected, for it to be worth a try


class Random(Protocol):
    """What is asked of random.Random."""

    def random(self) -> float:
        """A number from 0 up to 1."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """The route that one role of a registry takes at present."""

    route: str
    at: float
    """When it was taken, in place of another."""
    moves: float = 0.0
    """How often it was moved, faded until `at`."""

    def moved(self, route: str, *, now: float) -> Choice:
        """The choice after this one."""
        return self if route == self.route else Choice(route, now, self.restlessness(now=now) + 1)

    def restlessness(self, *, now: float) -> float:
        """Moves of late."""
        return self.moves * fading(now - self.at, RESTLESS)


def settled(
    ranked: Sequence[Candidate], present: Choice | None, family: Collection[str], *, now: float
) -> tuple[Candidate, ...]:
    """The candidates with the one to take first; `ranked` is by seconds, open circuits last."""
    if len(ranked) < 2:
        return tuple(ranked)
    best = ranked[0]
    kept = next((one for one in ranked if present is not None and one.route == present.route), None)
    if present is not None and kept is not None and _stays(kept, best, present.restlessness(now=now)):
        return _first(kept, ranked, f"{best.route} is not better by enough to move")
    relative = next((one for one in ranked if one.route in family), None)
    if relative is not None and _close(relative, best, 0.0):
        return _first(relative, ranked, "taken for the registry's other hosts as well")
    return tuple(ranked)


def explored(candidates: Sequence[Candidate], last: float | None, rng: Random, *, now: float) -> tuple[Candidate, ...]:
    """The candidates, now and then with one first that is worth a try; `last` is when that was so."""
    if len(candidates) < 2:
        return tuple(candidates)
    first = candidates[0]
    cold = _deviation(first) > COLD * first.expected_seconds
    if last is not None and now - last < PAUSE and not cold:
        return tuple(candidates)
    hopeful = [(_gain(first, one), one) for one in candidates[1:] if _is_worth_a_try(first, one)]
    most = COLD_SHARE if cold else SHARE
    if hopeful and rng.random() < min(most, _affordable(first, one := max(hopeful, key=lambda pair: pair[0])[1])):
        return _first(one, candidates, "tried, for it may be faster")
    return tuple(candidates)


def _first(one: Candidate, candidates: Sequence[Candidate], why: str) -> tuple[Candidate, ...]:
    """The candidates with `one` first, where it is not already, and why that is so."""
    if candidates[0] is one:
        return tuple(candidates)
    rest = (other for other in candidates if other is not one)
    return replace(one, reason=f"{one.reason}; {why}"), *rest


def _stays(one: Candidate, best: Candidate, moves: float) -> bool:
    """Whether the present choice is to be kept; one that fails has no right to."""
    if one.estimate is not None and one.estimate.failure >= FAILING:
        return False
    doubt = min(SURE * math.hypot(_noise(one), _noise(best)), MOST_DOUBT * one.expected_seconds)
    return (moves >= MOST_MOVES and not _is_open(one)) or _close(one, best, doubt)


def _close(one: Candidate, best: Candidate, doubt: float) -> bool:
    """Whether `best` is not better by more than a margin and the seconds in doubt."""
    if _is_open(one) and not _is_open(best):
        return False
    margin = max(MARGIN * one.expected_seconds, LEAST_MARGIN)
    return one.expected_seconds - best.expected_seconds <= margin + doubt


def _is_worth_a_try(first: Candidate, one: Candidate) -> bool:
    if _is_open(one) or _deviation(one) < STALE * one.expected_seconds:
        return False
    return one.expected_seconds - HOPE * _deviation(one) < first.expected_seconds


def _gain(first: Candidate, one: Candidate) -> float:
    """Seconds that it may be better by."""
    return first.expected_seconds - one.expected_seconds + HOPE * _deviation(one)


def _affordable(first: Candidate, one: Candidate) -> float:
    """The share of tunnels that costs no more than it may."""
    cost = one.expected_seconds - first.expected_seconds
    return LOSS * first.expected_seconds / cost if cost > 0 else 1.0


def _deviation(one: Candidate) -> float:
    return 0.0 if one.estimate is None else one.estimate.deviation


def _noise(one: Candidate) -> float:
    return 0.0 if one.estimate is None else one.estimate.noise


def _is_open(one: Candidate) -> bool:
    return one.estimate is not None and one.estimate.circuit == Circuit.OPEN
