"""The rule of blame by example: races, probes, and a network that is down."""

from __future__ import annotations

import pytest

from towline.core.blame import TOGETHER, Outage, at_fault, probes_at_fault
from towline.core.evidence import Finding
from towline.types import Attempt, Blame, Outcome, OutcomeKind, Phase, Role, Target

ESTABLISHED = Outcome(OutcomeKind.ESTABLISHED, Phase.ESTABLISHED, Blame.NONE, 0.2, "established")
OVERTAKEN = Outcome(OutcomeKind.CANCELLED, Phase.CONNECT, Blame.NONE, 0.5, "no answer in 0.50 s, vpn was faster")
TIMEOUT = Outcome(OutcomeKind.TIMEOUT, Phase.CONNECT, Blame.ROUTE, 4.9, "timeout 4.9 s")
PROXY_TIMEOUT = Outcome(OutcomeKind.TIMEOUT, Phase.PROXY, Blame.ROUTE, 4.9, "timeout 4.9 s waiting for its answer")
REFUSED = Outcome(OutcomeKind.REFUSED, Phase.CONNECT, Blame.TARGET, 0.1, "refused")
NO_DESCRIPTOR = Outcome(OutcomeKind.LOCAL, Phase.CONNECT, Blame.LOCAL, 0.0, "too many open files")


def blamed(direct: Outcome, vpn: Outcome, winner: str | None, *, vpn_at: float = 0.25) -> set[str]:
    """The routes at fault after a race of two."""
    attempts = [Attempt("direct", 0.0, direct), Attempt("vpn", vpn_at, vpn)]
    return {attempt.route for attempt in at_fault(attempts, winner)}


@pytest.mark.parametrize(
    ("direct", "vpn", "winner", "expected"),
    [
        (TIMEOUT, ESTABLISHED, "vpn", {"direct"}),
        (REFUSED, ESTABLISHED, "vpn", {"direct"}),
        (OVERTAKEN, ESTABLISHED, "vpn", {"direct"}),
        (ESTABLISHED, OVERTAKEN, "direct", set()),
        (NO_DESCRIPTOR, ESTABLISHED, "vpn", set()),
        (TIMEOUT, TIMEOUT, None, set()),
        (REFUSED, REFUSED, None, set()),
        (TIMEOUT, REFUSED, None, {"direct"}),
        (TIMEOUT, PROXY_TIMEOUT, None, {"direct", "vpn"}),
        (NO_DESCRIPTOR, TIMEOUT, None, {"vpn"}),
    ],
)
def test_race(direct: Outcome, vpn: Outcome, winner: str | None, expected: set[str]) -> None:
    """What another could do is a route's fault; what all failed at in one way is the target's."""
    assert blamed(direct, vpn, winner) == expected


def test_begun_together() -> None:
    """Of two routes dialled in the same moment neither had a head start."""
    assert blamed(OVERTAKEN, ESTABLISHED, "vpn", vpn_at=0.0) == set()


def probes(*found: tuple[str, str, Blame]) -> set[str]:
    """The routes at fault after probes; those whose detail is empty went well."""
    findings = [
        Finding(route, Target("registry.test", 443), "hub", Role.API, not detail, detail, blame)
        for route, detail, blame in found
    ]
    return {finding.route for finding in probes_at_fault(findings)}


def test_probes() -> None:
    """A probe that failed where another went well is its route's fault, whatever it says."""
    assert probes(("a", "refused", Blame.TARGET), ("b", "", Blame.NONE)) == {"a"}
    assert probes(("a", "too many open files", Blame.LOCAL), ("b", "", Blame.NONE)) == set()


def test_probes_that_all_failed() -> None:
    """Where none went well, those are at fault that name their route and are alone in the way they failed."""
    assert probes(("a", "timeout 3.0 s", Blame.ROUTE), ("b", "timeout 2.9 s", Blame.ROUTE)) == set()
    assert probes(("a", "407 from proxy", Blame.ROUTE), ("b", "refused", Blame.TARGET)) == {"a"}


def test_network_is_down() -> None:
    """Two registries that fail over the same routes together, with nothing reached between, are no coincidence."""
    outage = Outage()
    assert not outage.failed("hub", ["direct", "vpn"], now=0.0)
    assert not outage.failed("hub", ["direct", "vpn"], now=1.0), "it is no control of itself"
    assert outage.failed("quay", ["direct", "vpn"], now=2.0)
    assert outage.failed("hub", ["direct", "vpn"], now=3.0)


@pytest.mark.parametrize("reached", [True, False])
def test_network_is_up(*, reached: bool) -> None:
    """Something that was reached, or a long time between, makes them two failures of their own."""
    outage = Outage()
    outage.failed("hub", ["direct"], now=0.0)
    if reached:
        outage.reached()
    assert not outage.failed("quay", ["direct"], now=1.0 if reached else TOGETHER)


def test_control_that_tried_less() -> None:
    """A registry that may use one route says nothing about the others."""
    outage = Outage()
    outage.failed("hub", ["vpn"], now=0.0)
    assert not outage.failed("quay", ["direct", "vpn"], now=1.0)
