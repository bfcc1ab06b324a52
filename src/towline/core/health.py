"""What is known about one route for one registry: how long its dials take, and how it failed lately.

Deliberately small: smoothed times of dials and first answers, a streak of failures, and a circuit read off the streak.
All of it fades with age, so that a route which was slow or broken once is neither trusted blindly nor left aside for
ever. No clock is kept: every question takes `now=`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

GAIN = 1 / 8  # RFC 6298 2.3: alpha, the weight of a new sample in the mean
DEVIATION_GAIN = 1 / 4  # RFC 6298 2.3: beta
UNMEASURED = 0.25  # seconds that a dial is taken to last which nobody measured: the pause of RFC 8305 section 5
DIAL_HALF_LIFE = 600.0  # seconds in which a measured dial time has faded half the way back to UNMEASURED; our choice
OPEN_AFTER = 3  # failures in a row that open the circuit; our choice, like the five below
COOL_DOWN = 5.0  # seconds that a circuit stays open at first; doubles with each further failure
MAX_COOL_DOWN = 300.0  # seconds
HALF_LIFE = 60.0  # seconds in which half of what a failure weighs has faded
RECENT = 10.0  # seconds that a single failure puts a route behind comparable ones
NEGLIGIBLE = 0.01  # failures: what has faded below this weighs nothing


class Circuit(StrEnum):
    """Whether a route is in use (closed), rests after failures (open), or may try itself again (half-open)."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(slots=True)
class Smoothed:
    """A measured quantity, smoothed with its deviation as TCP smooths round trips (RFC 6298 2.2 and 2.3)."""

    mean: float | None = None
    deviation: float = 0.0
    measured_at: float = 0.0
    """When it was last measured; without meaning while `mean` is None."""

    def add(self, sample: float, *, now: float) -> None:
        """One more sample."""
        self.measured_at = now
        if self.mean is None:
            self.mean, self.deviation = sample, sample / 2
            return
        error = sample - self.mean
        self.mean += GAIN * error
        self.deviation += DEVIATION_GAIN * (abs(error) - self.deviation)

    def usual(self) -> float | None:
        """What nearly every sample stays within: mean + 4 deviations; None without evidence."""
        return None if self.mean is None else self.mean + 4 * self.deviation


@dataclass(slots=True)
class Health:
    """The evidence on one route, for one registry. Seconds throughout."""

    dial: Smoothed = field(default_factory=Smoothed)
    """From the start of a dial until it was established end to end."""
    answer: Smoothed = field(default_factory=Smoothed)
    """From the first flight to the first server byte."""
    rate: Smoothed = field(default_factory=Smoothed)
    """Bytes a second of tunnels that carried much."""
    attempts: int = 0
    failures: int = 0
    in_a_row: int = 0
    """Failures since the last answer."""
    streak: int = 0
    """The same, each failure with its weight."""
    last_failure: float = 0.0
    """When it failed last; without meaning while `failures` is 0."""
    last_error: str = ""

    def dialed(self, seconds: float, *, now: float) -> None:
        """A dial was established after `seconds`: no success yet; many a bad network lets that through and no more."""
        self.attempts += 1
        self.dial.add(seconds, now=now)

    def answered(self, seconds: float | None, *, now: float) -> None:
        """The target's first byte came, `seconds` after the first flight (None: not measured): the streak is over."""
        self.in_a_row = self.streak = 0
        if seconds is not None:
            self.answer.add(seconds, now=now)

    def failed(self, error: str, *, now: float, weight: int = 1) -> None:
        """A dial failed or was overtaken; what fails later in a tunnel costs the client more and weighs more."""
        self.attempts += 1
        self.failures += 1
        self.in_a_row += 1
        self.streak += weight
        self.last_failure = now
        self.last_error = error

    def failed_just_now(self, *, now: float) -> bool:
        """Whether the last thing that happened is a failure of the last RECENT seconds."""
        return self.streak > 0 and now - self.last_failure < RECENT

    def circuit(self, *, now: float) -> Circuit:
        """Closed below OPEN_AFTER failures in a row; then open for the cool-down, then half-open."""
        if self.streak < OPEN_AFTER:
            return Circuit.CLOSED
        return Circuit.OPEN if now < self.last_failure + self.cool_down else Circuit.HALF_OPEN

    @property
    def cool_down(self) -> float:
        """Seconds that the circuit stays open after the last failure."""
        doublings = min(self.streak - OPEN_AFTER, 16)  # bounded: a float overflows after 1,023
        return min(COOL_DOWN * 2.0**doublings, MAX_COOL_DOWN)

    def weight_of_failures(self, *, now: float) -> float:
        """The streak, faded with age: 2.0 for two failures just now, 1.0 for the same two a HALF_LIFE ago."""
        weight = self.streak * _faded(now - self.last_failure, HALF_LIFE)
        return weight if weight >= NEGLIGIBLE else 0.0

    def expected_dial(self, *, now: float) -> float:
        """Seconds that a dial is expected to take: what was measured, faded toward UNMEASURED with age."""
        if self.dial.mean is None:
            return UNMEASURED
        return UNMEASURED + (self.dial.mean - UNMEASURED) * _faded(now - self.dial.measured_at, DIAL_HALF_LIFE)


def _faded(age: float, half_life: float) -> float:
    """What is left of 1.0 after `age` seconds."""
    return float(0.5 ** (age / half_life))
