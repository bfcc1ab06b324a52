"""What is known about one route for one registry: how long its dials take, and how it failed lately.

Deliberately small: a smoothed dial time with its deviation (RFC 6298 section 2, as TCP smooths round trips), a streak
of failures, and a circuit read off the streak. Both kinds of evidence fade with age, so that a route which was slow or
broken once is neither trusted blindly nor left aside for ever. No clock is kept: every question takes `now=`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

GAIN = 1 / 8  # RFC 6298 2.3: alpha, the weight of a new sample in the mean
DEVIATION_GAIN = 1 / 4  # RFC 6298 2.3: beta
UNMEASURED = 0.25  # seconds that a dial is taken to last which nobody measured: the pause of RFC 8305 section 5
DIAL_HALF_LIFE = 600.0  # seconds in which a measured dial time has faded half the way back to UNMEASURED; our choice
OPEN_AFTER = 3  # failures in a row that open the circuit; our choice, like the four below
COOL_DOWN = 5.0  # seconds that a circuit stays open at first; doubles with each further failure
MAX_COOL_DOWN = 300.0  # seconds
HALF_LIFE = 60.0  # seconds in which half of what a failure weighs has faded
NEGLIGIBLE = 0.01  # failures: what has faded below this weighs nothing


class Circuit(StrEnum):
    """Whether a route is in use (closed), rests after failures (open), or may try itself again (half-open)."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(slots=True)
class Health:
    """The evidence on one route, for one registry. Seconds throughout."""

    dial_mean: float | None = None
    dial_deviation: float = 0.0
    measured_at: float = 0.0
    """When a dial was last established; without meaning while `dial_mean` is None."""
    attempts: int = 0
    failures: int = 0
    streak: int = 0
    """Failures since the last success."""
    last_failure: float = 0.0
    """When a dial failed last; without meaning while `failures` is 0."""
    last_error: str = ""

    def succeeded(self, seconds: float, *, now: float) -> None:
        """A dial was established after `seconds`."""
        self.attempts += 1
        self.streak = 0
        self.measured_at = now
        if self.dial_mean is None:
            self.dial_mean, self.dial_deviation = seconds, seconds / 2
            return
        error = seconds - self.dial_mean
        self.dial_mean += GAIN * error
        self.dial_deviation += DEVIATION_GAIN * (abs(error) - self.dial_deviation)

    def failed(self, error: str, *, now: float) -> None:
        """A dial failed, or another route that started later was faster."""
        self.attempts += 1
        self.failures += 1
        self.streak += 1
        self.last_failure = now
        self.last_error = error

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
        if self.dial_mean is None:
            return UNMEASURED
        return UNMEASURED + (self.dial_mean - UNMEASURED) * _faded(now - self.measured_at, DIAL_HALF_LIFE)

    def usual_dial(self) -> float | None:
        """Seconds that nearly every dial stays within (RFC 6298: mean + 4 deviations); None without evidence."""
        return None if self.dial_mean is None else self.dial_mean + 4 * self.dial_deviation


def _faded(age: float, half_life: float) -> float:
    """What is left of 1.0 after `age` seconds."""
    return float(0.5 ** (age / half_life))
