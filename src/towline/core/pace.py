"""The pace of a tunnel: bytes a second over a window of the latest seconds, from totals that are noted now and then.

pace = Pace(20.0)
pace.note(now, total)      the total so far; any number of times a second
pace.rate                  0 until a whole window was noted
pace.restart()             what came before says nothing about what comes
"""

from __future__ import annotations

from collections import deque

MARKS = 10
"""Samples in a window: the rate is taken over the window and up to one part more."""


class Pace:
    """Bytes a second over the last `window` seconds."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._marks: deque[tuple[float, int]] = deque()
        self.rate = 0.0
        """0 until the window is full."""

    def restart(self) -> None:
        """Measure anew from the next note on."""
        self._marks.clear()

    def note(self, now: float, total: int) -> None:
        """`total` bytes have come until `now`."""
        marks = self._marks
        if not marks or now - marks[-1][0] >= self._window / MARKS:
            marks.append((now, total))
        while len(marks) > 1 and now - marks[1][0] >= self._window:
            marks.popleft()
        began, before = marks[0]
        age = now - began
        self.rate = (total - before) / age if age >= self._window else 0.0
