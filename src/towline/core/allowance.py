"""An allowance of bytes an hour: what may still be spent, what was spent, what is set aside for what is under way.

allowance = Allowance(64 * 1024 * 1024)
if allowance.left(now=now) >= most:
    allowance.set_aside(most)          the most that it can cost, before it begins
    ...
    allowance.spend(cost, of=most, now=now)    what it did cost, when it has ended

So the bound holds whatever happens in between: no more than the limit is ever noted within any hour.
"""

from __future__ import annotations

from collections import deque

HOUR = 3600.0  # seconds
SLOT = 60.0  # seconds whose bytes are kept as one sum: 61 of them cover every hour, and are all that is remembered


class Allowance:
    """Bytes that may be spent within any hour."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._slots: deque[tuple[int, int]] = deque()  # number of the slot, bytes
        self._set_aside = 0

    def spent(self, *, now: float) -> int:
        """Bytes of the last hour, and of up to one slot before it."""
        first = _slot(now - HOUR)
        while self._slots and self._slots[0][0] < first:
            self._slots.popleft()
        return sum(size for _, size in self._slots)

    def left(self, *, now: float) -> int:
        """Bytes that may be set aside now; 0 where more was spent than allowed, as after a lower limit."""
        return max(0, self.limit - self.spent(now=now) - self._set_aside)

    def set_aside(self, size: int) -> None:
        """Hold `size` bytes for something that begins."""
        self._set_aside += size

    def spend(self, size: int, *, of: int, now: float) -> None:
        """What `of` bytes were set aside for has cost `size`; what nothing was set aside for (0) counts as well."""
        self._set_aside -= of
        slot = _slot(now)
        if self._slots and self._slots[-1][0] == slot:
            size += self._slots.pop()[1]
        self._slots.append((slot, size))


def _slot(now: float) -> int:
    return int(now // SLOT)
