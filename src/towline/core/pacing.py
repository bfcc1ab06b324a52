"""Pacing: whether a CONNECT that every route has failed is held for another round, or answered now.

A failure often passes within a second: a proxy restarts, a link flaps, a name server drops one packet. Clients that get
an answer at once burn their retries on it (containerd 2.3.2: five in 200 ms) or give up (dockerd's ping, token and
manifest calls are not retried at all). So the request is held for a few more rounds, each after a longer pause.

What lasts is answered at once: failures that no pause mends, and a target for which waiting has just been in vain.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from towline.types import Attempt, OutcomeKind, Target

PAUSES = (0.5, 1.0)  # seconds before the second and the third round: 1.5 s in all, of the 5 s that an API call has
LEAST_ROUND = 1.0  # seconds that a round has to have left: a shorter one would only hide what the last one found
PERSISTS = 30.0  # seconds for which a target that all rounds failed is answered after one
MAX_REMEMBERED = 1024  # targets that are remembered to have failed

_PASSING = frozenset(
    {
        OutcomeKind.REFUSED,
        OutcomeKind.RESET,
        OutcomeKind.CLOSED,
        OutcomeKind.UNREACHABLE,
        OutcomeKind.PROXY_REFUSED,
    }
)
"""What may be otherwise a second later. Not here: timeouts have waited already; names that do not exist, passwords,
certificates and the guard's refusals stay as they are."""


class Pacing:
    """Decides on further rounds, and remembers for which targets they were of no use."""

    def __init__(self) -> None:
        self._failed: OrderedDict[Target, float] = OrderedDict()

    def pause(
        self, target: Target, attempts: Sequence[Attempt], *, rounds: int, left: float, now: float
    ) -> float | None:
        """Seconds to wait before the next round, None to give up.

        `attempts` are those of the last round, `rounds` how many there were, `left` the seconds left of the budget.
        """
        persists = target in self._failed and now - self._failed[target] < PERSISTS
        if rounds <= len(PAUSES) and not persists and _may_pass(attempts) and left > PAUSES[rounds - 1] + LEAST_ROUND:
            return PAUSES[rounds - 1]
        if not persists:  # else steady retries would never get a second round again
            self._failed[target] = now
            self._failed.move_to_end(target)
        if len(self._failed) > MAX_REMEMBERED:
            self._failed.popitem(last=False)
        return None

    def reached(self, target: Target) -> None:
        """The target was reached: its failures are of the past."""
        self._failed.pop(target, None)


def _may_pass(attempts: Sequence[Attempt]) -> bool:
    return any(attempt.outcome.kind in _PASSING for attempt in attempts)
