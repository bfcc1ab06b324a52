"""When the watch over one tunnel may ask for a probe, as far as that depends on the verdicts so far (stall.py)."""

from __future__ import annotations

import math

DEAD_PAUSES = (2.0, 4.0, 8.0, 15.0)
"""Seconds from a verdict that found the route dead to the next probe; the last repeats for as long as it takes."""
REST = 40.0
"""Seconds from a verdict that found it alive to the next probe of a tunnel that goes on by fits and starts."""


class Inquiry:
    """The probes of one tunnel. All times are on the caller's clock, in seconds."""

    def __init__(self) -> None:
        self.alive = 0
        """Verdicts in the present silence that found the route alive."""
        self._dead = 0
        self._is_open = False
        self._next_at = -math.inf
        self._rests_until = -math.inf

    @property
    def next_times(self) -> tuple[float, float]:
        """When what follows may change for no other reason than time."""
        return self._next_at, self._rests_until

    def may_ask(self, now: float) -> bool:
        """No verdict is awaited, and the pause is over that a dead route asks for."""
        return not self._is_open and now >= self._next_at

    def has_rested(self, now: float) -> bool:
        """The tunnel was not found well just now, or has moved enough since."""
        return now >= self._rests_until

    def asked(self) -> None:
        """A verdict is awaited from here on."""
        self._is_open = True

    def judged(self, *, alive: bool, now: float) -> None:
        """A verdict came; one that was not awaited does not count."""
        if not self._is_open:
            return
        self._is_open = False
        if alive:
            self.alive += 1
            self._rests_until = now + REST
        else:
            self._next_at = now + DEAD_PAUSES[min(self._dead, len(DEAD_PAUSES) - 1)]
            self._dead += 1

    def silence_ended(self) -> None:
        """Something moved."""
        self.alive = self._dead = 0
        self._next_at = -math.inf

    def end_rest(self) -> None:
        """The tunnel has earned to be suspected at once."""
        self._rests_until = -math.inf
