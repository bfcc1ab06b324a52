"""Of many lines that say the same, which are logged: one in a while, with the number of those that were not.

A flood that is refused would else fill the disk with refusals.
"""

from __future__ import annotations

PAUSE = 1.0  # seconds between two lines of a kind; our choice


class Seldom:
    """Counts by kind; there are a handful of kinds, and each is one of ours."""

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def tell(self, kind: str, *, now: float) -> int | None:
        """How many of this kind went untold since the last that was told; None where this one is not told either."""
        if kind in self._told_at and now - self._told_at[kind] < PAUSE:
            self._untold[kind] = self._untold.get(kind, 0) + 1
            return None
        self._told_at[kind] = now
        return self._untold.pop(kind, 0)
