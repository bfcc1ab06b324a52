"""What was learned, as it is shown."""

from __future__ import annotations

import pytest
from tests.sharing import share

from towline.core.classify import Catalogue, RegistrySpec
from towline.core.evidence import Carried, Finding
from towline.core.learned import TYPICAL, Learned
from towline.core.policy import FailoverPolicy, TargetPolicy
from towline.core.rank import rank
from towline.core.show import evidence_of, registry_views
from towline.types import Candidate, Classification, Role, RouteSpec, Target

TARGET = Target("registry.test", 443)
CATALOGUE = Catalogue.build([RegistrySpec("hub", api=("registry.test",), blob=("blobs.test",))])
VPN = RouteSpec("vpn")
NOW = 100.0  # seconds


def learned() -> Learned:
    """A route that answered at an API host, was probed there, and carried from a blob host."""
    learned = Learned()
    api, blob = learned.of("vpn", "hub", Role.API), learned.of("vpn", "hub", Role.BLOB)
    api.probed(Finding("vpn", TARGET, "hub", Role.API, True, "", dial=0.1, first_byte=0.2), at_fault=False, now=90.0)
    api.failed("refused", now=NOW)
    blob.answered(0.2, now=NOW)
    blob.carried(Carried(50_000_000, 10.0), well=True, now=NOW)
    learned.of("direct", "hub", Role.API).failed("refused", now=NOW)
    return learned


def test_registry_over_its_roles() -> None:
    """A registry has one row: values over all roles, seconds and reason of the role that moves most."""
    (view,) = registry_views(VPN, learned(), CATALOGUE, policy=TargetPolicy(), now=NOW)
    api, blob = view.roles
    assert (view.registry, api.role, blob.role) == ("hub", "api", "blob")
    assert view.first_byte_seconds == pytest.approx(0.2)
    assert view.rate_bytes_per_second == pytest.approx(5e6)
    assert view.success == pytest.approx(0.6, abs=0.01)
    assert (view.expected_seconds, view.reason) == (blob.expected_seconds, blob.reason)
    assert view.probed_seconds_ago == 10.0


def test_roles() -> None:
    """Each role has what is known of it, and nothing where nothing is."""
    (view,) = registry_views(VPN, learned(), CATALOGUE, policy=TargetPolicy(), now=NOW)
    api, blob = view.roles
    assert (api.rate_bytes_per_second, blob.probed_seconds_ago, blob.success) == (None, None, 1.0)
    assert (api.measured_seconds_ago, blob.typical_bytes) == (10.0, round(TYPICAL[Role.BLOB]))
    assert api.circuit == "closed"


def test_shared_route() -> None:
    """A route whose tunnels share it is shown as it is ranked."""
    known = learned()
    share(known.shared("hub"), "vpn", 6e6, now=NOW)
    (view,) = registry_views(VPN, known, CATALOGUE, policy=TargetPolicy(), now=NOW)
    assert view.reason == "answers in 200 ms, its tunnels share 6 MB/s"
    (view,) = registry_views(VPN, known, CATALOGUE, policy=TargetPolicy(spread="off"), now=NOW)
    assert view.reason == "answers in 200 ms, carries 5 MB/s"


def test_role_that_nothing_is_known_of() -> None:
    """A route that carried nothing and was not tried has no success, rate or probe to show."""
    empty = Learned()
    empty.of("vpn", "hub", Role.API)
    (view,) = registry_views(VPN, empty, CATALOGUE, policy=TargetPolicy(), now=NOW)
    assert (view.success, view.first_byte_seconds, view.rate_bytes_per_second) == (None, None, None)
    assert view.probed_seconds_ago is None


def test_evidence_of_a_candidate() -> None:
    """`explain` gets every part of an estimate and the age of its evidence."""
    ranking = rank(
        TARGET,
        Classification("hub", Role.API, "", ""),
        [VPN, RouteSpec("office")],
        learned(),
        registry=CATALOGUE.registry("hub"),
        policy=TargetPolicy(),
        failover=FailoverPolicy(),
        now=NOW,
    )
    evidence = {candidate.route: evidence_of(candidate) for candidate in ranking.candidates}
    vpn, office = evidence["vpn"], evidence["office"]
    assert vpn is not None
    assert office is not None
    assert (vpn["measured_seconds_ago"], vpn["probed_seconds_ago"], vpn["circuit"]) == (10.0, 10.0, "closed")
    assert (office["measured_seconds_ago"], office["probed_seconds_ago"]) == (None, None)
    assert set(vpn) == set(office)


def test_candidate_without_an_estimate() -> None:
    """What was ranked by nothing has no evidence."""
    assert evidence_of(Candidate("vpn", 0.0, "", 0.25)) is None
