"""The rule of blame: which failures count against a route's health.

    a route won                 the others that failed are at fault: it could be done. So is a route that had a head
                                start and lost; one that was cancelled before its time was up is not.
    every route failed          a route is at fault where its outcome names it, unless another route failed in the same
                                way: then the target is
    so did another registry     the network is down, and nobody is at fault
    this machine failed         nobody is

Probes follow the same rule as traffic; what they find of several routes is a race that nobody had to win.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from towline.core.evidence import Finding
from towline.types import Attempt, Blame, OutcomeKind

TOGETHER = 10.0  # seconds within which registries that fail over every route are taken to fail for one reason

_NUMBER = re.compile(r"[0-9.]+")


def at_fault(attempts: Sequence[Attempt], winner: str | None) -> list[Attempt]:
    """The failed attempts that count against their routes."""
    return [attempt for attempt in attempts if not attempt.outcome.ok and _is_at_fault(attempt, attempts, winner)]


def _is_at_fault(attempt: Attempt, attempts: Sequence[Attempt], winner: str | None) -> bool:
    outcome = attempt.outcome
    if outcome.blame is Blame.LOCAL:
        return False
    if winner is None:
        others = [other.outcome for other in attempts if other is not attempt]
        shared = any((other.kind, other.phase) == (outcome.kind, outcome.phase) for other in others)
        return outcome.blame is Blame.ROUTE and not shared
    if outcome.kind is not OutcomeKind.CANCELLED:
        return True
    won = next(other for other in attempts if other.route == winner)
    return attempt.offset < won.offset  # it had the head start


def probes_at_fault(findings: Sequence[Finding]) -> list[Finding]:
    """The findings of one host that count against their routes."""
    some_worked = any(finding.ok for finding in findings)
    ways = [_NUMBER.sub("", finding.detail) for finding in findings if not finding.ok]
    return [
        finding
        for finding in findings
        if not finding.ok
        and finding.blame is not Blame.LOCAL
        and (some_worked or (finding.blame is Blame.ROUTE and ways.count(_NUMBER.sub("", finding.detail)) == 1))
    ]


class Outage:
    """Tells a network that is down from registries that are: each is the other's control."""

    def __init__(self) -> None:
        self._failed: dict[str, tuple[float, frozenset[str]]] = {}

    def reached(self) -> None:
        """Something was reached over some route."""
        self._failed.clear()

    def failed(self, registry: str, routes: Collection[str], *, now: float) -> bool:
        """A registry failed over all of these routes; True where another one did as well, and nothing was reached."""
        self._failed[registry] = now, frozenset(routes)
        return any(
            other != registry and now - at < TOGETHER and tried >= frozenset(routes)
            for other, (at, tried) in self._failed.items()
        )
