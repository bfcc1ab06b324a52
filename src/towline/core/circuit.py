"""The circuit of a route: when failures in a row mean that it rests, and when it may try itself again.

    closed      in use
    open        rests: it stands last in every ranking, and is dialled only when all others have failed
    half-open   its cool-down is over: the next tunnel or probe that takes it is its trial

Two kinds of failure are counted apart, because different things disprove them. A route that did not answer is back
when it answers. A route that cut a tunnel in the middle of a blob answered before it did so, and will again: that it is
well it shows only by carrying much to the end.

The cool-down doubles with each further failure, and starts out longer where the circuit has opened before: a route that
comes and goes every second is left alone for longer each time, and is forgiven as the minutes pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

OPEN_AFTER = 3  # weight of failures in a row that opens the circuit; our choice, like those below
COOL_DOWN = 5.0  # seconds that a circuit stays open at first; doubles with each further failure
MAX_COOL_DOWN = 300.0  # seconds
HALF_LIFE = 60.0  # seconds in which half of what a failure weighs has faded
TRIP_HALF_LIFE = 300.0  # seconds in which half of what an earlier opening weighs has faded
RECENT = 10.0  # seconds that a single failure puts a route behind comparable ones
NEGLIGIBLE = 0.01  # failures: what has faded below this weighs nothing


class Circuit(StrEnum):
    """Whether a route is in use (closed), rests after failures (open), or may try itself again (half-open)."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(slots=True)
class Streak:
    """The failures of a route since it was last well."""

    in_a_row: int = 0
    """How many they are."""
    silent: int = 0
    """Those to dial or to answer, each with its weight."""
    cuts: int = 0
    """Those in the middle of a tunnel, each with its weight."""
    trips: float = 0.0
    """How often the circuit has opened, faded until `tripped_at`."""
    tripped_at: float = 0.0
    last_failure: float = 0.0
    """When it failed last; without meaning before the first failure."""
    confirmed_at: float = 0.0
    """When it was last seen to go on, by what prolongs no rest."""

    @property
    def weight(self) -> int:
        """All of them."""
        return self.silent + self.cuts

    def failed(self, *, now: float, weight: int, cut: bool) -> None:
        """One more failure."""
        before = self.weight
        self.in_a_row += 1
        self.last_failure = now
        if cut:
            self.cuts += weight
        else:
            self.silent += weight
        if before < OPEN_AFTER <= self.weight:
            self.trips, self.tripped_at = self._trips(now) + 1, now

    def confirmed(self, *, now: float) -> None:
        """The route is still down, says somebody who is not to keep it from its trial."""
        self.confirmed_at = now

    def answered(self) -> None:
        """The route answered."""
        self.silent = 0
        if not self.cuts:
            self.in_a_row = 0

    def carried(self) -> None:
        """The route carried much."""
        self.in_a_row = self.silent = self.cuts = 0

    def forgiven(self) -> None:
        """What has failed was another network's fault."""
        self.carried()
        self.trips = 0.0

    def failed_just_now(self, *, now: float) -> bool:
        """Whether the last thing that happened is a failure of the last RECENT seconds."""
        return self.weight > 0 and now - self.last_failure < RECENT

    def circuit(self, *, now: float) -> Circuit:
        """Closed below OPEN_AFTER failures in a row; then open for the cool-down, then half-open."""
        if self.weight < OPEN_AFTER:
            return Circuit.CLOSED
        return Circuit.OPEN if now < self.last_failure + self.cool_down else Circuit.HALF_OPEN

    @property
    def cool_down(self) -> float:
        """Seconds that the circuit stays open after the last failure."""
        earlier = max(0.0, self._trips(self.last_failure) - 1)
        doublings = min(self.weight - OPEN_AFTER + earlier, 16.0)  # bounded: a float overflows after 1,023
        return min(COOL_DOWN * math.exp2(doublings), MAX_COOL_DOWN)

    def faded(self, *, now: float) -> float:
        """Their weight, less with age: 2.0 for two failures just now, 1.0 for the same two a HALF_LIFE ago."""
        weight = self.weight * fading(now - max(self.last_failure, self.confirmed_at), HALF_LIFE)
        return weight if weight >= NEGLIGIBLE else 0.0

    def _trips(self, now: float) -> float:
        return self.trips * fading(now - self.tripped_at, TRIP_HALF_LIFE)


def fading(age: float, half_life: float) -> float:
    """What is left of 1.0 after `age` seconds."""
    return math.exp2(-age / half_life)
