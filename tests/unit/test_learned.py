"""What was learned, by example: typical sizes, forgetting, another network."""

from __future__ import annotations

from dataclasses import replace

import pytest

from towline.core.choice import Choice
from towline.core.health import MISLEADING
from towline.core.learned import FACTOR, SIZE_GAIN, TYPICAL, Learned
from towline.types import Candidate, Classification, Ranking, Role, Target


def test_one_health_for_each() -> None:
    """Each route, registry and role has a health of its own, the same at every call."""
    learned = Learned()
    assert learned.of("vpn", "hub", Role.API) is learned.of("vpn", "hub", Role.API)
    assert learned.of("vpn", "hub", Role.API) is not learned.of("vpn", "hub", Role.BLOB)


def test_typical_size() -> None:
    """Until tunnels tell, a role has its typical size; then the mean of what they brought."""
    learned = Learned()
    assert learned.typical("hub", Role.BLOB) == TYPICAL[Role.BLOB]
    learned.moved("hub", Role.BLOB, 32_000_000)
    assert learned.typical("hub", Role.BLOB) == pytest.approx(
        TYPICAL[Role.BLOB] + SIZE_GAIN * (32_000_000 - TYPICAL[Role.BLOB])
    )
    for _ in range(200):
        learned.moved("hub", Role.BLOB, 3_000_000)
    assert learned.typical("hub", Role.BLOB) == pytest.approx(3_000_000, rel=0.01)
    assert learned.typical("quay", Role.BLOB) == TYPICAL[Role.BLOB]


@pytest.mark.parametrize(("size", "bound"), [(1, 1 / FACTOR), (10**12, FACTOR)])
def test_size_is_bounded(size: int, bound: float) -> None:
    """However small or large tunnels are, the typical size stays within its bounds."""
    learned = Learned()
    for _ in range(500):
        learned.moved("hub", Role.API, size)
    assert learned.typical("hub", Role.API) == pytest.approx(TYPICAL[Role.API] * bound)


def test_empty_tunnel_tells_no_size() -> None:
    """A tunnel that brought nothing was none of the typical ones."""
    learned = Learned()
    learned.moved("hub", Role.API, 0)
    assert learned.sizes == {}


def ranking(first: str, choice: str | None, *, role: Role = Role.BLOB) -> Ranking:
    """A ranking that takes `first`, where the choice is another or not."""
    kind = Classification("hub", role, "", "")
    return Ranking(Target("registry.test", 443), kind, (Candidate(first, 0.1, "", 0.25),), choice=choice)


def test_choices() -> None:
    """A choice is noted for its registry and role, and is family to the registry's other roles."""
    learned = Learned()
    learned.took(ranking("vpn", "vpn"), now=1.0)
    learned.took(ranking("direct", "direct"), now=2.0)
    assert learned.choices["hub", Role.BLOB] == Choice("direct", 2.0, moves=1.0)
    assert learned.family("hub", Role.API) == ["direct"]
    assert learned.family("hub", Role.BLOB) == learned.family("quay", Role.API) == []
    assert learned.explored_at == {}


def test_exploring_is_no_choice() -> None:
    """A tunnel that explores moves no choice, and when it did is known; where there is no route nothing is noted."""
    learned = Learned()
    learned.took(ranking("vpn", "direct"), now=5.0)
    learned.took(ranking("vpn", None, role=Role.API), now=6.0)
    assert {key: choice.route for key, choice in learned.choices.items()} == {("hub", Role.BLOB): "direct"}
    assert learned.explored_at == {"hub": 5.0}


def test_spreading_is_no_exploring() -> None:
    """A tunnel that is spread moves no choice either, and when it was is known apart; then no other follows at once."""
    learned = Learned()
    learned.took(replace(ranking("vpn", "direct"), is_spread=True), now=5.0)
    assert learned.choices["hub", Role.BLOB].route == "direct"
    assert (learned.explored_at, learned.shared("hub").spread_at) == ({}, 5.0)
    learned.took(replace(ranking("direct", "direct"), is_spread=True), now=6.0)
    assert learned.shared("hub").spread_at == 5.0, "the route that it would have taken was left out"


def test_short_layers_beside_the_apis_route() -> None:
    """Tunnels that ended at once count where the API is asked over another route."""
    learned = Learned()
    learned.shared("hub").began(1, "direct", now=1.0)
    learned.ended(2, "hub", "vpn", 100, now=1.0)
    assert learned.shared("hub").short == 0, "nobody asked the API yet"
    learned.took(ranking("direct", "direct", role=Role.API), now=1.0)
    learned.ended(3, "hub", "vpn", 100, now=1.0)
    assert learned.shared("hub").short == 1


def sharing_two() -> Learned:
    """What was learned where a layer came over each of two routes."""
    learned = Learned()
    for number, route in enumerate(("vpn", "direct")):
        learned.of(route, "hub", Role.BLOB).answered(0.1, now=1.0)
        learned.shared("hub").carried(number, route, 1e6, now=1.0)
    return learned


def test_sharing_of_routes_that_lead_elsewhere() -> None:
    """How layers shared a route is forgotten with it, and on another network."""
    learned = sharing_two()
    learned.forget({"vpn"})
    assert learned.shared("hub").rates.keys() == {"direct"}
    learned = sharing_two()
    learned.on_another_network({"direct"}, now=1.0)
    assert learned.shared("hub").rates.keys() == {"vpn"}
    learned.on_another_network(now=1.0)
    assert learned.shared("hub").rates == {}


def test_forget() -> None:
    """A forgotten route has no health, for any registry; the others keep theirs."""
    learned = Learned()
    for route in ("vpn", "direct"):
        learned.of(route, "hub", Role.API)
    learned.took(ranking("vpn", "vpn"), now=1.0)
    learned.took(ranking("direct", "direct", role=Role.API), now=1.0)
    learned.forget(["vpn", "office"])
    assert learned.choices.keys() == {("hub", Role.API)}
    assert learned.health.keys() == {("direct", "hub", Role.API)}


def test_probes_that_traffic_disproved() -> None:
    """Where traffic of one role disproved probes over a route, they are disproved for that registry alone."""
    learned = Learned()
    learned.of("vpn", "hub", Role.BLOB).misled = MISLEADING
    assert learned.disproves_probes("vpn", "hub")
    assert not learned.disproves_probes("vpn", "quay")
    assert not learned.disproves_probes("direct", "hub")


def test_recall() -> None:
    """What was learned of this network before replaces what is in doubt, and leaves the rest."""
    learned, known = Learned(), Learned()
    learned.of("vpn", "hub", Role.API).dialed(3.0, now=0.0)
    learned.of("direct", "hub", Role.API).dialed(2.0, now=0.0)
    known.of("vpn", "hub", Role.API).dialed(0.1, now=0.0)
    known.moved("hub", Role.BLOB, 1_000_000)
    learned.recall(known)
    values = {key[0]: health.dial.value for key, health in learned.health.items()}
    assert values == {"vpn": pytest.approx(0.1), "direct": pytest.approx(2.0)}
    assert learned.sizes == known.sizes


def test_another_network() -> None:
    """Every health is put in doubt."""
    learned = Learned()
    learned.of("vpn", "hub", Role.API).failed("refused", now=0.0)
    learned.took(ranking("vpn", "vpn"), now=1.0)
    learned.on_another_network(now=1.0)
    assert learned.choices == {}
    assert learned.of("vpn", "hub", Role.API).streak.weight == 0


def test_another_network_for_some_routes() -> None:
    """What leads where it did keeps what is known of it, failures and choices included."""
    learned = Learned()
    for route in ("vpn", "direct"):
        learned.of(route, "hub", Role.API).failed("refused", now=0.0)
    learned.took(ranking("direct", "direct"), now=1.0)
    learned.on_another_network({"vpn"}, now=1.0)
    assert [learned.of(route, "hub", Role.API).streak.weight for route in ("vpn", "direct")] == [0, 1]
    assert [choice.route for choice in learned.choices.values()] == ["direct"]
