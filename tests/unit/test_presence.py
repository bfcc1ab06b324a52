"""Which routes are there, and what becomes of those that are not."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from towline.core.network import Interface, Network, WayOut, compare
from towline.core.presence import MAX_LOST, Presence, absent_last
from towline.types import Candidate, Classification, Ranking, Role, RouteSpec, Target

WG = Interface("wg0", up=True, addresses=(ipaddress.ip_address("10.8.0.2"),), index=3)
WAY = WayOut("eth0", ipaddress.ip_address("192.0.2.7"))
WITH, WITHOUT = Network((WG,), (WAY,)), Network((), (WAY,))
DIRECT, VPN = RouteSpec("direct"), RouteSpec("vpn", interface="wg0")
LEASED = RouteSpec("leased", source=ipaddress.ip_address("10.8.0.2"))


def goes(presence: Presence, before: Network, after: Network, *, now: float) -> None:
    """The machine's network becomes another."""
    presence.seen(after, compare(before, after), now=now)


def test_every_route_is_there_while_nothing_is_known() -> None:
    """A machine that shows no interfaces has no route that could be missed."""
    presence = Presence()
    assert presence.absence(VPN, now=0.0) is None
    assert presence.leads_out(VPN, now=0.0)
    assert presence.leads_out(DIRECT, now=0.0)


def test_a_route_goes_with_its_interface() -> None:
    """It is absent for the reason that the network gives, and leads nowhere."""
    presence = Presence()
    goes(presence, WITH, WITHOUT, now=10.0)
    assert presence.absence(VPN, now=10.0) == "interface wg0 is gone"
    assert presence.absence(LEASED, now=10.0) == "source 10.8.0.2 is gone"
    assert [presence.leads_out(spec, now=10.0) for spec in (DIRECT, VPN, LEASED)] == [True, False, False]
    goes(presence, WITHOUT, WITH, now=20.0)
    assert [presence.leads_out(spec, now=20.0) for spec in (DIRECT, VPN, LEASED)] == [True, True, True]


def test_a_source_that_was_never_seen_is_not_missed() -> None:
    """127.0.0.2 is this machine's, and so may be others that no interface shows."""
    presence = Presence()
    goes(presence, WITH, WITHOUT, now=10.0)
    assert presence.absence(RouteSpec("other", source=ipaddress.ip_address("127.0.0.2")), now=10.0) is None
    presence.seen(None, compare(WITH, WITH), now=11.0)
    assert presence.absence(LEASED, now=11.0) is None


def test_few_lost_addresses_are_remembered() -> None:
    """The latest: temporary addresses come and go for ever."""
    presence = Presence()
    for number in range(1, MAX_LOST + 2):
        address = ipaddress.ip_address(number)
        before = Network((replace(WG, addresses=(address,)),), (WAY,))
        goes(presence, before, WITHOUT, now=float(number))
    first, second = (RouteSpec("r", source=ipaddress.ip_address(number)) for number in (1, 2))
    assert presence.absence(first, now=1e6) is None
    assert presence.absence(second, now=1e6) is not None


def test_an_interface_that_flaps_is_not_counted_on() -> None:
    """Back for the second time, it stays absent for a while; a route that has no interface is never on trial."""
    presence = Presence()
    for now in (10.0, 12.0):
        goes(presence, WITH, WITHOUT, now=now)
        goes(presence, WITHOUT, WITH, now=now + 1)
    assert presence.absence(VPN, now=13.0) == "interface wg0 went 2 times of late, 5 s on trial"
    assert presence.absence(LEASED, now=13.0) is None
    assert presence.absence(VPN, now=30.0) is None


def test_direct_leads_nowhere_without_a_way_out() -> None:
    """A route with a way of its own may still; direct is not called absent, since private networks may be reached."""
    presence = Presence()
    goes(presence, WITH, replace(WITH, ways_out=()), now=10.0)
    assert presence.absence(DIRECT, now=10.0) is None
    assert [presence.leads_out(spec, now=10.0) for spec in (DIRECT, VPN)] == [False, True]


def test_absent_routes_are_last_and_say_why() -> None:
    """The others keep their order, and a ranking without absent routes stays what it is."""
    candidates = tuple(Candidate(name, 0.1, "fast", 0.25) for name in ("vpn", "direct", "office"))
    classification = Classification("hub", Role.API, "hub.test", "api host of hub")
    ranking = Ranking(Target("hub.test", 443), classification, candidates)
    assert absent_last(ranking, lambda _: None) is ranking
    ordered = absent_last(ranking, {"vpn": "interface wg0 is gone"}.get)
    assert [(one.route, one.reason) for one in ordered.candidates] == [
        ("direct", "fast"),
        ("office", "fast"),
        ("vpn", "interface wg0 is gone"),
    ]


def test_a_choice_that_is_absent_is_none() -> None:
    """Another one is made, which then keeps its place; where all are absent, there is no other."""
    kind = Classification("dockerhub", Role.API, "registry.test", "")
    candidates = tuple(Candidate(name, 1.0, "fast", 0.25) for name in ("vpn", "direct"))
    ranking = Ranking(Target("registry.test", 443), kind, candidates, choice="vpn")
    assert absent_last(ranking, {"vpn": "gone"}.get).choice == "direct"
    assert absent_last(ranking, {"direct": "gone"}.get).choice == "vpn"
    assert absent_last(ranking, {"vpn": "gone", "direct": "gone"}.get).choice == "vpn"
