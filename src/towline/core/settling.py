"""When to act upon changes that come in bursts, how far to trust what comes and goes, and how long this machine slept.

    Settling     events are gathered for a moment before a look, and actions stand apart; none is lost
    Dampening    an interface that keeps coming and going has to stay for a while before it counts as back
    Sleep        seconds that went by while this process did not run

One change is many events: wg-quick makes an interface, gives it addresses, switches it on and adds routes, one by one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

GATHER = 0.5
"""Seconds from the first event of a change until it is acted upon; our choice. wg-quick is done in a tenth of that."""
APART = 3.0
"""Seconds from an action to the next look: the flap guard that ClashFest found enough (its pull request 153). A look
that found nothing is none: containers make interfaces all the time, and a VPN that goes meanwhile must not wait."""

FREE_DEPARTURES = 1
"""Departures in REMEMBERED seconds that are forgiven: whoever restarts a VPN has it back at once."""
HOLD = 5.0
"""Seconds that an interface has to stay after its second departure; doubles with each further one. The idea is that of
route flap damping (RFC 2439 section 4.2), the numbers are ours."""
MAX_HOLD = 60.0
REMEMBERED = 300.0
"""Seconds for which a departure is remembered."""
MAX_DEPARTURES = 8
"""Of one interface that are kept: more would hold it no longer."""
MAX_INTERFACES = 64
"""Interfaces whose departures are kept, the latest: containers' come and go without end."""

ASLEEP = 1.0
"""Seconds that the clock which counts sleep gains on the one that does not, beyond which this machine slept."""
LATE = 5.0
"""Seconds by which a timer is late where this process was stopped, or its virtual machine was. A machine that is merely
busy is late by fractions of one; where it is more, looking again does no harm."""


class Settling:
    """Times the look that answers a burst of events. All times are on the caller's clock, in seconds."""

    def __init__(self) -> None:
        self.due: float | None = None
        """When to look; None where nothing has happened."""
        self._acted_at = -math.inf

    def note(self, *, now: float) -> None:
        """Something happened."""
        if self.due is None:
            self.due = max(now + GATHER, self._acted_at + APART)

    def take(self, *, now: float) -> bool:
        """True where it is time to look; what happens from now on is a change of its own."""
        if self.due is None or now < self.due:
            return False
        self.due = None
        return True

    def acted(self, *, now: float) -> None:
        """The look found something to act upon."""
        self._acted_at = now


class Dampening:
    """Remembers which interfaces keep coming and going."""

    def __init__(self) -> None:
        self._departures: dict[str, deque[float]] = {}
        self._came: dict[str, float] = {}

    def note(self, *, gone: Iterable[str], come: Iterable[str], now: float) -> None:
        """These interfaces went, these came (which may be the same, made anew)."""
        for name in gone:
            self._departures.setdefault(name, deque(maxlen=MAX_DEPARTURES)).append(now)
            self._departures[name] = self._departures.pop(name)  # the latest stand last
        self._came.update(dict.fromkeys(come, now))
        while len(self._departures) > MAX_INTERFACES:
            del self._departures[next(iter(self._departures))]
        self._came = {name: at for name, at in self._came.items() if name in self._departures}

    def distrusts(self, name: str, *, now: float) -> str | None:
        """Why an interface that is there does not count as back yet; None where it does."""
        times = sum(now - at < REMEMBERED for at in self._departures.get(name, ()))
        if times <= FREE_DEPARTURES:
            return None
        hold = min(HOLD * 2.0 ** (times - FREE_DEPARTURES - 1), MAX_HOLD)
        left = self._came.get(name, -math.inf) + hold - now
        return f"interface {name} went {times} times of late, {left:.0f} s on trial" if left > 0 else None


class Sleep:
    """Measures how long this process did not run, by two clocks and by a timer that fires too late."""

    def __init__(self, *, now: float, with_sleep: float) -> None:
        """`now` is on the clock of the timers, `with_sleep` on one that goes on while the machine sleeps."""
        self._gap = with_sleep - now

    def measure(self, *, due: float, now: float, with_sleep: float) -> float:
        """Seconds lost since the last call, 0.0 for none worth speaking of. `due` is when the call was to be."""
        gained = with_sleep - now - self._gap
        self._gap = with_sleep - now
        late = now - due
        return (gained if gained >= ASLEEP else 0.0) + (late if late >= LATE else 0.0)
