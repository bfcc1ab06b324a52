"""A path: how one route is toward one kind of target over time, and when things that take time are done on it.

Everything that takes time is work that goes on at the speed of the moment: of a dial 1/connect each second, of the wait
for a first byte 1/first_byte, of a body `rate` bytes; nothing while the route is down or stands still. So what is under
way follows each change of its route: it is faster or slower from then on, stops, and goes on where it stopped.

The speeds are constant between two lines of a trace. Their running sums are kept, so that each question takes one
search in them.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from tests.bench.policy.trace import State

INSTANT = 1e-6  # seconds that a dial or a first byte takes at least: a speed has to be finite


class Work:
    """Work at a speed that changes: the sum of the speed over time."""

    def __init__(self, times: Sequence[float], speeds: Sequence[float]) -> None:
        """`speeds[i]` is that from `times[i]` on; before the first time nothing moves."""
        self._times = times
        self._speeds = speeds
        self._sums = [0.0]
        self._last_moved = [-math.inf]
        for i in range(1, len(times)):
            lasted = times[i] - times[i - 1]
            self._sums.append(self._sums[-1] + lasted * speeds[i - 1])
            self._last_moved.append(times[i] if speeds[i - 1] and lasted else self._last_moved[-1])

    def done_by(self, t: float) -> float:
        """How much is done by `t`."""
        i = bisect_right(self._times, t) - 1
        return self._sums[i] + self._speeds[i] * (t - self._times[i]) if i >= 0 else 0.0

    def finished(self, start: float, amount: float) -> float:
        """When `amount` is done that was begun at `start`; infinite where that is never."""
        if not amount:
            return start
        goal = self.done_by(start) + amount
        after = bisect_left(self._sums, goal)
        i = after - 1
        return self._times[i] + (goal - self._sums[i]) / self._speeds[i] if self._speeds[i] else math.inf

    def last_moved(self, t: float) -> float:
        """When it last moved, seen at `t`; minus infinite where it never did."""
        i = bisect_right(self._times, t) - 1
        if i < 0:
            return -math.inf
        return t if self._speeds[i] and t > self._times[i] else self._last_moved[i]

    def stood_still(self, start: float, end: float, limit: float) -> float:
        """When it has not moved for `limit` since `start`, or since it last did; infinite where not before `end`."""
        moved = start
        for i in range(max(0, bisect_right(self._times, start) - 1), len(self._times)):
            if not self._speeds[i]:
                continue
            if max(start, self._times[i]) - moved >= limit:
                break
            moved = max(start, self._times[i + 1]) if i + 1 < len(self._times) else math.inf
            if moved >= end:
                break
        return moved + limit if moved + limit < end else math.inf


class Path:
    """One route toward one registry and role. All times in seconds, on the trace's clock."""

    def __init__(self, states: Sequence[State]) -> None:
        """`states` are those that apply, in the order of time; none for a route that is never there."""
        self._states = states
        self._times = [state.t for state in states]
        self._dial = self._work(lambda state: 0.0 if state.connect is None else 1 / max(state.connect, INSTANT))
        self._answer = self._work(_answer_speed)
        self.body = self._work(lambda state: 0.0 if state.stall or state.connect is None else state.rate)

    def _work(self, speed: Callable[[State], float]) -> Work:
        return Work(self._times or [0.0], [speed(state) for state in self._states] or [0.0])

    def at(self, t: float) -> State | None:
        """How it is at `t`; None before its first line."""
        i = bisect_right(self._times, t) - 1
        return self._states[i] if i >= 0 else None

    def connected(self, start: float) -> float:
        """When a dial is established that begins at `start`."""
        return self._dial.finished(start, 1.0)

    def answered(self, start: float) -> float:
        """When the first byte comes of a connection that is established at `start`."""
        return self._answer.finished(start, 1.0)


def _answer_speed(state: State) -> float:
    return 0.0 if state.connect is None or state.first_byte is None else 1 / max(state.first_byte, INSTANT)
