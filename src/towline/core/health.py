"""What is known about one route for one registry: how long its dials take, and how it failed lately.

Deliberately small: a smoothed dial time with its deviation (RFC 6298 section 2, as TCP smooths round trips), a streak
of failures that fades, and a circuit read off the streak. No clock is kept: every question takes `now=`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

GAIN = 1 / 8  # RFC 6298 2.3: alpha, the weight of a new sample in the mean
DEVIATION_GAIN = 1 / 4  # RFC 6298 2.3: beta
OPEN_AFTER = 3  # failures in a row that open the circuit
COOL_DOWN = 5.0  # seconds that a circuit stays open at first; doubles with each further failure
MAX_COOL_DOWN = 300.0  # seconds
HALF_LIFE = 60.0  # seconds in which half of what a failure weighs has faded


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
    attempts: int = 0
    failures: int = 0
    streak: int = 0
    """Failures since the last success."""
    last_failure: float | None = None
    last_error: str | None = None

    def succeeded(self, seconds: float) -> None:
        """A dial was established after `seconds`."""
        self.attempts += 1
        self.streak = 0
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
        if self.streak < OPEN_AFTER or self.last_failure is None:
            return Circuit.CLOSED
        return Circuit.OPEN if now < self.last_failure + self.cool_down else Circuit.HALF_OPEN

    @property
    def cool_down(self) -> float:
        """Seconds that the circuit stays open after the last failure."""
        return min(COOL_DOWN * 2.0 ** min(self.streak - OPEN_AFTER, 16), MAX_COOL_DOWN)

    def weight_of_failures(self, *, now: float) -> float:
        """The streak, faded with age: 2.0 for two failures just now, 1.0 for the same two a HALF_LIFE ago."""
        if self.last_failure is None or not self.streak:
            return 0.0
        return float(self.streak * 0.5 ** ((now - self.last_failure) / HALF_LIFE))

    def usual_dial(self) -> float | None:
        """Seconds that nearly every dial stays within (RFC 6298: mean + 4 deviations); None without evidence."""
        return None if self.dial_mean is None else self.dial_mean + 4 * self.dial_deviation
