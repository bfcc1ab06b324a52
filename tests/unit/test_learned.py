"""What was learned, by example: typical sizes, forgetting, another network."""

from __future__ import annotations

import pytest

from towline.core.learned import FACTOR, SIZE_GAIN, TYPICAL, Learned
from towline.types import Role


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


def test_forget() -> None:
    """A forgotten route has no health, for any registry; the others keep theirs."""
    learned = Learned()
    for route in ("vpn", "direct"):
        learned.of(route, "hub", Role.API)
    learned.forget(["vpn", "office"])
    assert learned.health.keys() == {("direct", "hub", Role.API)}


def test_another_network() -> None:
    """Every health is put in doubt."""
    learned = Learned()
    learned.of("vpn", "hub", Role.API).failed("refused", now=0.0)
    learned.on_another_network(now=1.0)
    assert learned.of("vpn", "hub", Role.API).streak.weight == 0
