"""Spreading by example: what shows that a route is shared, when another is taken beside it, and what ends that."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.sharing import share

from towline.core.borrow import known
from towline.core.spread import FRESH, IN_A_ROW, MOST, PAUSE, SHORT, Rates, Sharing, spread, undivided
from towline.types import Candidate, Estimate, Role

NOW = 1000.0  # seconds
LAYER = 16e6  # bytes
RATE = 8e6  # bytes a second


def candidate(route: str, rate: float = RATE, *, cost: float = 0.0, certain: bool = True) -> Candidate:
    """A route that carries so much, and costs nothing else but `cost` seconds."""
    seconds = cost + LAYER / rate
    found = Estimate(
        seconds=seconds,
        deviation=(0.1 if certain else 0.5) * seconds,
        noise=0.0,
        dial=0.0,
        first_byte=0.0,
        rate=rate,
        bytes=LAYER,
        failure=0.0,
        circuit="closed",
        age=1.0,
        probed=None,
        reason="",
    )
    return Candidate(route, seconds, f"carries {rate / 1e6:.3g} MB/s", 0.25, estimate=found)


def changed(one: Candidate, **facts: float | str | None) -> Candidate:
    """The candidate with another estimate."""
    assert one.estimate is not None
    return replace(one, estimate=replace(one.estimate, **facts))  # type: ignore[arg-type]


def shared(*, tunnels: int = 2, together: float = RATE) -> Sharing:
    """Tunnels over vpn that carry so much together now, where one carried RATE alone a minute ago, and again since."""
    sharing = Sharing()
    share(sharing, "vpn", RATE, now=NOW, tunnels=tunnels, together=together)
    return sharing


VPN, DIRECT = candidate("vpn"), candidate("direct", RATE * 0.7)
FIRST = (VPN, DIRECT)


def first(sharing: Sharing, *candidates: Candidate, now: float = NOW) -> str:
    """The route that the next tunnel takes."""
    return spread(candidates or FIRST, sharing, now=now)[0].route


def test_shared_route() -> None:
    """Two tunnels share what one had: the third is sooner complete on the other route, which says so."""
    best, rest = spread(FIRST, shared(), now=NOW)
    assert (best.route, rest.route) == ("direct", "vpn")
    assert best.reason == "carries 5.6 MB/s; spread: 2 tunnels share 8 MB/s of vpn"


def test_shared_route_is_not_slow() -> None:
    """A route that is shared is believed to carry what all have, another what it is believed to."""
    beliefs = known({}, ["vpn", "direct"], "hub", Role.BLOB, now=NOW)
    found = undivided(beliefs, shared(), now=NOW)
    assert found["vpn"].is_shared
    assert found["vpn"].rate.value == pytest.approx(RATE)
    assert found["direct"] is beliefs["direct"]


@pytest.mark.parametrize(
    ("sharing", "candidates"),
    [
        (Sharing(), FIRST),
        (shared(), (VPN,)),
        (shared(), ()),
        (shared(tunnels=1), FIRST),
        (shared(together=2 * RATE), FIRST),
        (shared(), (VPN, candidate("direct", RATE / 4))),
        (shared(), (VPN, candidate("direct", cost=4.0))),
        (shared(), (VPN, candidate("direct", certain=False))),
        (shared(), (VPN, changed(DIRECT, age=None))),
        (shared(), (VPN, changed(DIRECT, circuit="open"))),
        (shared(), (VPN, changed(DIRECT, circuit="half-open"))),
        (shared(), (VPN, changed(DIRECT, failure=0.2))),
        (shared(), (VPN, replace(DIRECT, estimate=None))),
        (shared(), (replace(VPN, estimate=None), DIRECT)),
    ],
    ids=[
        "nothing carries", "no other route", "no route", "one tunnel", "each has a rate of its own",
        "no clear gain", "its cost makes it worse", "hardly known", "never measured", "open", "half-open", "fails",
        "no estimate", "no estimate of the first",
    ],
)  # fmt: skip
def test_nothing_changes(sharing: Sharing, candidates: tuple[Candidate, ...]) -> None:
    """Without evidence that another route adds something, the ranking is what it was."""
    assert spread(candidates, sharing, now=NOW) == candidates


def test_shares_are_counted_on_both() -> None:
    """What is on the other route already takes its share of it."""
    sharing = shared()
    sharing.began(7, "direct", now=NOW)
    assert first(sharing) == "vpn", "a half of 5.6 is hardly more than a third of 8"
    assert first(sharing, VPN, candidate("direct", 2 * RATE)) == "direct"


def test_routes_that_end_in_one_line() -> None:
    """What the other carried beside the first counts, not what it carried by itself: it added nothing."""
    sharing = shared()
    sharing.carried(7, "direct", RATE / 3, now=NOW)
    sharing.ended(7, "direct", int(LAYER), api="vpn", now=NOW)
    assert sharing.rates["direct"].beside.value == pytest.approx(RATE / 3)
    assert first(sharing) == "vpn"


def test_routes_that_add() -> None:
    """What the other carried beside the first is known well enough, however little is known of it otherwise."""
    sharing = shared()
    sharing.carried(7, "direct", RATE, now=NOW)
    sharing.ended(7, "direct", int(LAYER), api="vpn", now=NOW)
    assert first(sharing, VPN, candidate("direct", RATE, certain=False)) == "direct"


def test_pause() -> None:
    """The one that was spread last has to be counted before the next."""
    sharing = shared()
    sharing.spread_at = NOW - PAUSE / 2
    assert first(sharing) == "vpn"
    assert first(sharing, now=NOW + PAUSE / 2) == "direct"


def test_evidence_fades() -> None:
    """Tunnels that tell nothing for a while carry nothing, and what was measured long ago is not known."""
    sharing = shared()
    assert sharing.count("vpn", now=NOW + FRESH) == 2
    assert first(sharing, now=NOW + FRESH + 0.1) == "vpn"
    assert sharing.count("vpn", now=NOW + FRESH + 0.1) == 0
    assert (limit := sharing.rates["vpn"].limit(now=NOW)) is not None
    assert limit.value == pytest.approx(RATE)
    assert sharing.rates["vpn"].limit(now=NOW + 3600) is None
    assert Rates().limit(now=NOW) is None


def test_one_sample_is_not_enough() -> None:
    """A rate that was measured once, and might be off by a third, shows no sharing."""
    sharing = Sharing()
    sharing.carried(1, "vpn", RATE, now=NOW - 60)
    sharing.carried(1, "vpn", RATE / 2, now=NOW)
    sharing.carried(2, "vpn", RATE / 2, now=NOW)
    assert first(sharing) == "vpn"


def test_one_that_was_just_begun() -> None:
    """While a tunnel takes a part that nobody knows, what others carry is no evidence of what the route does."""
    sharing = Sharing()
    sharing.began(1, "vpn", now=NOW)
    sharing.began(2, "vpn", now=NOW)
    sharing.carried(1, "vpn", RATE / 2, now=NOW + 1)
    assert sharing.rates == {}
    sharing.carried(2, "vpn", RATE / 2, now=NOW + 1)
    rates = sharing.rates["vpn"]
    assert rates.alone.value is None
    assert rates.together.value == pytest.approx(RATE)


def test_how_many_are_counted() -> None:
    """However many tunnels carry, a bounded number is remembered; known ones go on being told of."""
    sharing = Sharing()
    for tunnel in range(MOST + 10):
        sharing.carried(tunnel, "vpn", 1.0, now=NOW)
    assert sharing.count("vpn", now=NOW) == MOST
    sharing.carried(0, "vpn", 1.0, now=NOW + FRESH)
    assert sharing.count("vpn", now=NOW + FRESH + 0.1) == 1


def test_signed_addresses_bound_to_the_apis_route() -> None:
    """Tunnels over another route than the API's that end at once, while that one carries, end the spreading."""
    sharing = shared()
    for tunnel in range(IN_A_ROW):
        assert not sharing.is_bound
        sharing.ended(10 + tunnel, "direct", SHORT - 1, api="vpn", now=NOW)
    best, other = spread(FIRST, sharing, now=NOW)
    assert (best.route, other) == ("vpn", DIRECT)
    assert best.reason == (
        "carries 8 MB/s; not spread, though 2 tunnels share 8 MB/s of vpn: "
        "tunnels over another route than the API's ended at once"
    )
    sharing.ended(20, "direct", SHORT, api="vpn", now=NOW)
    assert first(sharing) == "direct", "one brought more"


@pytest.mark.parametrize(
    ("route", "size", "api", "later"),
    [
        ("vpn", 100, "vpn", 0.0),
        ("direct", 100, None, 0.0),
        ("direct", 0, "vpn", 0.0),
        ("direct", 100, "vpn", FRESH + 1),
    ],
    ids=["the API's own", "no API was asked", "cut", "nothing carries meanwhile"],
)
def test_short_ones_that_tell_nothing(route: str, size: int, api: str | None, later: float) -> None:
    """Small layers are no sign by themselves."""
    sharing = shared()
    for tunnel in range(IN_A_ROW):
        sharing.ended(10 + tunnel, route, size, api=api, now=NOW + later)
    assert not sharing.is_bound


def test_forget() -> None:
    """A route that leads elsewhere now has shared nothing, and addresses may be bound no longer."""
    sharing = shared()
    sharing.carried(7, "direct", RATE, now=NOW)
    sharing.short = IN_A_ROW
    sharing.forget({"vpn"})
    assert set(sharing.rates) == sharing.routes == {"direct"}
    assert (sharing.count("vpn", now=NOW), sharing.count("direct", now=NOW)) == (0, 1)
    assert not sharing.is_bound
    sharing.began(8, "office", now=NOW)
    assert sharing.routes == {"direct", "office"}
