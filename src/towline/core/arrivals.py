"""When how many bytes had arrived on a connection, and the rate at which its path brings them.

    arrivals.read(size)             so many bytes were read
    arrivals.all_read(now=now)      nothing is left to read: before each wait
    arrivals.measure(now=now)       what is measured begins here
    arrivals.carried(now=now)       the rate since then, as Carried

A sender that still opens its window (TCP's slow start, RFC 5681 3.1) sends in flights, one a round trip: the bytes of a
short reading over its seconds tell of the distance and not of the rate. But within a flight bytes come one behind the
other, as fast as the narrowest link passes them on. So the fastest stretch tells the path's rate, which is what a long
transfer gets. Stretches go from one moment at which all had been read to another, so that bytes which lay in a buffer
while this process was busy make none look fast.

The first bytes are left out: a link that limits the average and not the burst (a token bucket) lets them pass at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from towline.core.evidence import Carried

SKIPPED = 64 * 1024  # bytes of a reading that no stretch has; our choice: usual bursts are 32 KiB or less
STRETCH = 64 * 1024  # bytes of a stretch at least: 45 full segments
SLOW = 2.0  # seconds for less than a stretch: on any path slow start is a small part of that
APART = 1024  # bytes between two moments that are remembered, which bounds their number


@dataclass(slots=True)
class Arrivals:
    """What one connection has received."""

    received: int = 0
    """Bytes so far."""
    _moments: list[tuple[float, int]] = field(default_factory=list)

    def read(self, size: int) -> None:
        """So many bytes more."""
        self.received += size

    def all_read(self, *, now: float) -> None:
        """What was received until now is all that has arrived."""
        if self._moments and self.received - self._moments[-1][1] >= APART:
            self._moments.append((now, self.received))

    def measure(self, *, now: float) -> None:
        """Measure from here on; before, nothing is remembered but the sum."""
        self._moments = [(now, self.received)]

    def carried(self, *, now: float) -> Carried | None:
        """The fastest stretch since `measure`; None where too little came to tell.

        All of it, where it came so slowly that slow start is no matter, or so fast that there was no wait to begin at.
        """
        moments = [*self._moments, (now, self.received)]
        late = [moment for moment in moments if moment[1] - moments[0][1] >= SKIPPED]
        whole = _between(moments[0], moments[-1])
        tells = whole.seconds >= SLOW or whole.bytes >= SKIPPED + STRETCH
        return max(_stretches(late), key=lambda stretch: stretch.rate, default=whole if tells else None)


def _stretches(moments: Sequence[tuple[float, int]]) -> Iterator[Carried]:
    """For each moment, the shortest stretch that ends there."""
    start = 0
    for end in moments:
        while start < len(moments) and end[1] - moments[start][1] >= STRETCH:
            start += 1
        if start:
            yield _between(moments[start - 1], end)


def _between(start: tuple[float, int], end: tuple[float, int]) -> Carried:
    return Carried(bytes=end[1] - start[1], seconds=end[0] - start[0])
