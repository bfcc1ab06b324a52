from __future__ import annotations

import ipaddress
from itertools import pairwise

import pytest

from towline.core.poison import (
    LATELY,
    MAX_ADDRESSES,
    MAX_HOSTS,
    RECHECK_AFTER,
    RECHECK_AT_MOST,
    Mark,
    Poison,
    Proof,
)
from towline.types import IPAddress

HOST = "registry.test"
FORGED, TRUE = ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("192.0.2.2")


def sound(poison: Poison, *addresses: IPAddress, now: float = 0.0) -> list[IPAddress]:
    """What is dialled over `direct` of an answer with these addresses."""
    return poison.sound("direct", HOST, addresses, now=now)


def test_nothing_is_avoided_without_a_reason() -> None:
    """What was never met, and what was met and found well, is dialled in the order of the answer."""
    poison = Poison()
    assert sound(poison, FORGED, TRUE) == [FORGED, TRUE]
    poison.answered("direct", HOST, now=0)
    poison.verified("direct", HOST, TRUE, now=0)
    assert sound(poison, FORGED, TRUE) == [FORGED, TRUE]


@pytest.mark.parametrize("mark", [Mark.WRONG_ANSWER, Mark.WRONG_CERTIFICATE])
def test_a_marked_address_is_not_dialled_while_its_answer_has_others(mark: Mark) -> None:
    """Also where no other route is known."""
    poison = Poison()
    poison.marked("direct", HOST, FORGED, mark)
    assert sound(poison, FORGED, TRUE) == [TRUE]


@pytest.mark.parametrize("mark", [Mark.WRONG_ANSWER, Mark.WRONG_CERTIFICATE])
def test_marked_addresses_alone_are_dialled_where_nothing_better_is_known(mark: Mark) -> None:
    """Never worse than direct: that its own route once led to the host is nothing better."""
    poison = Poison()
    poison.marked("direct", HOST, FORGED, mark)
    poison.marked("direct", HOST, TRUE, mark)
    poison.verified("direct", HOST, ipaddress.ip_address("192.0.2.3"), now=0)
    assert sound(poison, FORGED, TRUE) == [FORGED, TRUE]


@pytest.mark.parametrize(
    ("mark", "proof", "avoided"),
    [
        (Mark.WRONG_ANSWER, Proof.NONE, False),
        (Mark.WRONG_ANSWER, Proof.ANSWERED, True),
        (Mark.WRONG_ANSWER, Proof.VERIFIED, True),
        (Mark.WRONG_CERTIFICATE, Proof.ANSWERED, False),  # an authority that its clients alone know
        (Mark.WRONG_CERTIFICATE, Proof.VERIFIED, True),
    ],
)
def test_what_outweighs_a_mark(mark: Mark, proof: Proof, avoided: bool) -> None:
    """An address is avoided while another route is known to lead to the host, and known as well as the mark weighs."""
    poison = Poison()
    poison.marked("direct", HOST, FORGED, mark)
    if proof is Proof.ANSWERED:
        poison.answered("vpn", HOST, now=0)
    elif proof is Proof.VERIFIED:
        poison.verified("vpn", HOST, None, now=0)
    assert poison.proof(HOST, but="direct", now=0) is proof
    assert sound(poison, FORGED) == ([] if avoided else [FORGED])


def test_the_lighter_of_two_marks_is_outweighed_alone() -> None:
    """Of addresses that are marked differently, those that weigh more than what is known elsewhere are dialled."""
    poison = Poison()
    poison.marked("direct", HOST, FORGED, Mark.WRONG_ANSWER)
    poison.marked("direct", HOST, TRUE, Mark.WRONG_CERTIFICATE)
    poison.answered("vpn", HOST, now=0)
    assert sound(poison, FORGED, TRUE) == [TRUE]


def test_the_graver_mark_stays() -> None:
    """A wrong answer from an address with a wrong certificate adds nothing."""
    poison = Poison()
    assert poison.marked("direct", HOST, FORGED, Mark.WRONG_ANSWER)
    assert not poison.marked("direct", HOST, FORGED, Mark.WRONG_ANSWER)
    assert poison.marked("direct", HOST, FORGED, Mark.WRONG_CERTIFICATE)
    assert not poison.marked("direct", HOST, FORGED, Mark.WRONG_ANSWER)
    poison.answered("vpn", HOST, now=0)
    assert sound(poison, FORGED) == [FORGED]


def test_a_mark_is_of_one_route_and_one_host() -> None:
    """What answers in a host's place may sit on one route's way, and serves other hosts well."""
    poison = Poison()
    poison.marked("direct", HOST, FORGED, Mark.WRONG_ANSWER)
    poison.answered("vpn", HOST, now=0)
    assert poison.sound("vpn", HOST, [FORGED], now=0) == [FORGED]
    assert poison.sound("direct", "other.test", [FORGED], now=0) == [FORGED]


def test_a_check_that_finds_the_host_takes_the_mark_away() -> None:
    """And nothing else does, however much time passes."""
    poison = Poison()
    poison.marked("direct", HOST, FORGED, Mark.WRONG_CERTIFICATE)
    poison.verified("vpn", HOST, None, now=1e6)
    assert sound(poison, FORGED, now=1e6) == []
    poison.verified("direct", HOST, FORGED, now=1e6)
    assert sound(poison, FORGED, now=1e6) == [FORGED]


def test_what_is_known_elsewhere_has_to_be_of_late() -> None:
    """A route that was not used for long may be dead; each flight that it answers keeps what was verified once."""
    poison = Poison()
    poison.marked("direct", HOST, FORGED, Mark.WRONG_CERTIFICATE)
    poison.verified("vpn", HOST, None, now=0)
    poison.answered("vpn", HOST, now=LATELY - 1)
    assert sound(poison, FORGED, now=LATELY) == []
    assert sound(poison, FORGED, now=2 * LATELY) == [FORGED]
    assert poison.proof("other.test", but="direct", now=0) is Proof.NONE


def begin_check(poison: Poison, address: IPAddress, *, now: float, route: str = "direct") -> bool:
    """Whether the address is due; then its check begins."""
    if is_due := poison.is_due(route, HOST, address, now=now):
        poison.checking(route, HOST, address, now=now)
    return is_due


def test_an_address_is_checked_when_it_is_first_met() -> None:
    """Once per network, as long as it is found well."""
    poison = Poison()
    assert begin_check(poison, TRUE, now=5)
    assert not begin_check(poison, TRUE, now=5)
    assert begin_check(poison, TRUE, now=5, route="vpn")
    poison.verified("direct", HOST, TRUE, now=6)
    assert not begin_check(poison, TRUE, now=1e6)
    poison.marked("direct", HOST, TRUE, Mark.WRONG_ANSWER)  # it was well, and is no more
    assert begin_check(poison, TRUE, now=1e6)


def test_an_address_that_was_not_found_well_is_checked_seldom() -> None:
    """After pauses that double, up to an hour."""
    poison = Poison()
    begun = [now for now in range(0, 50_000, 10) if begin_check(poison, FORGED, now=now)]
    pauses = [later - earlier for earlier, later in pairwise(begun)]
    assert pauses[:3] == [RECHECK_AFTER, 2 * RECHECK_AFTER, 4 * RECHECK_AFTER]
    assert max(pauses) == pauses[-1] == RECHECK_AT_MOST
    assert len(pauses) > 12  # where doubling without end would leave the range of float


def test_knows_what_was_met() -> None:
    """By route and host."""
    poison = Poison()
    assert not poison.is_met("direct", HOST)
    begin_check(poison, TRUE, now=0)
    assert poison.is_met("direct", HOST)
    assert not poison.is_met("vpn", HOST)


def test_routes_are_forgotten_that_mean_something_else_now() -> None:
    """Marks and proofs of other routes stay."""
    poison = Poison()
    poison.marked("direct", HOST, FORGED, Mark.WRONG_ANSWER)
    poison.answered("vpn", HOST, now=0)
    poison.answered("office", HOST, now=0)
    poison.forget_routes({"vpn"})
    assert sound(poison, FORGED) == []
    poison.forget_routes({"office"})
    assert sound(poison, FORGED) == [FORGED]
    poison.answered("vpn", HOST, now=0)
    poison.forget_routes({"direct"})
    assert sound(poison, FORGED) == [FORGED]


def test_another_network_knows_nothing() -> None:
    """Names lead elsewhere there."""
    poison = Poison()
    poison.marked("direct", HOST, FORGED, Mark.WRONG_ANSWER)
    poison.answered("vpn", HOST, now=0)
    poison.forget()
    assert sound(poison, FORGED) == [FORGED]
    assert begin_check(poison, FORGED, now=0)


def test_remembers_no_more_than_so_many_hosts_and_addresses() -> None:
    """The host that was met longest ago is forgotten first: unlisted ones push out no registry that is in use."""
    poison = Poison()
    for number in range(MAX_HOSTS + 1):
        poison.answered("vpn", f"{number}.test", now=0)
    assert len(poison._hosts) == MAX_HOSTS
    assert "0.test" not in poison._hosts
    poison.answered("vpn", "1.test", now=0)
    poison.answered("vpn", "new.test", now=0)
    assert "1.test" in poison._hosts
    assert "2.test" not in poison._hosts
    for number in range(MAX_ADDRESSES + 1):
        poison.marked("direct", HOST, FORGED + number, Mark.WRONG_ANSWER)
    assert len(poison._hosts[HOST].addresses) == MAX_ADDRESSES
    assert ("direct", FORGED) not in poison._hosts[HOST].addresses
