"""Pacing by example: which failures are worth another round, and when a target is given up."""

from __future__ import annotations

import pytest

from towline.core.pacing import MAX_REMEMBERED, PAUSES, PERSISTS, Pacing
from towline.types import Attempt, Blame, Outcome, OutcomeKind, Phase, Target

TARGET = Target("registry.test", 443)


def failed(*kinds: OutcomeKind) -> list[Attempt]:
    """One attempt that ended so, for each kind."""
    return [Attempt("direct", 0.0, Outcome(kind, Phase.CONNECT, Blame.ROUTE, 0.1, str(kind))) for kind in kinds]


def test_rounds_and_their_pauses() -> None:
    """What may pass gets a round after each pause, then no more."""
    pacing = Pacing()
    pauses = [
        pacing.pause(TARGET, failed(OutcomeKind.REFUSED), rounds=rounds, left=5.0, now=0.0)
        for rounds in range(1, len(PAUSES) + 2)
    ]
    assert pauses == [*PAUSES, None]


@pytest.mark.parametrize(
    "kind",
    [OutcomeKind.TIMEOUT, OutcomeKind.UNRESOLVED, OutcomeKind.PROXY_AUTH, OutcomeKind.TLS, OutcomeKind.DENIED],
)
def test_what_a_pause_does_not_mend(kind: OutcomeKind) -> None:
    """Such a failure is answered at once, unless another route's may pass."""
    assert Pacing().pause(TARGET, failed(kind), rounds=1, left=5.0, now=0.0) is None
    assert Pacing().pause(TARGET, failed(kind, OutcomeKind.RESET), rounds=1, left=5.0, now=0.0) == PAUSES[0]


def test_no_attempts() -> None:
    """Where no route may serve the target there is nothing to wait for."""
    assert Pacing().pause(TARGET, [], rounds=1, left=5.0, now=0.0) is None


def test_budget_is_kept() -> None:
    """A pause that would use up the budget is not made."""
    assert Pacing().pause(TARGET, failed(OutcomeKind.REFUSED), rounds=1, left=PAUSES[0], now=0.0) is None


def test_target_that_persists_in_failing() -> None:
    """After all rounds in vain the target gets one round, until it is reached or PERSISTS seconds have passed."""
    pacing = Pacing()
    assert pacing.pause(TARGET, failed(OutcomeKind.REFUSED), rounds=3, left=5.0, now=0.0) is None
    assert pacing.pause(TARGET, failed(OutcomeKind.REFUSED), rounds=1, left=5.0, now=1.0) is None
    assert pacing.pause(TARGET, failed(OutcomeKind.REFUSED), rounds=1, left=5.0, now=1.0 + PERSISTS) == PAUSES[0]
    pacing.pause(TARGET, failed(OutcomeKind.REFUSED), rounds=3, left=5.0, now=100.0)
    pacing.reached(TARGET)
    assert pacing.pause(TARGET, failed(OutcomeKind.REFUSED), rounds=1, left=5.0, now=100.0) == PAUSES[0]


def test_memory_is_bounded() -> None:
    """The target that failed longest ago is forgotten first."""
    pacing = Pacing()
    for number in range(MAX_REMEMBERED + 1):
        pacing.pause(Target(f"h{number}.test", 443), failed(OutcomeKind.REFUSED), rounds=3, left=5.0, now=0.0)
    first, last = (Target(f"h{number}.test", 443) for number in (0, MAX_REMEMBERED))
    assert pacing.pause(first, failed(OutcomeKind.REFUSED), rounds=1, left=5.0, now=0.0) == PAUSES[0]
    assert pacing.pause(last, failed(OutcomeKind.REFUSED), rounds=1, left=5.0, now=0.0) is None
