"""The rig itself, without Towline: links are as long and as fast as they say, and right is what measures best."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import pytest
from tests.e2e.choice.figures import CHANGES, RIGHT
from tests.e2e.choice.links import SHAPES
from tests.e2e.choice.measures import MIB
from tests.e2e.choice.stage import LAYER_PATH, Stage
from tests.e2e.rig.process import ProgramError
from tests.e2e.rig.registry import API_HOST, BLOB_HOST

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

SLACK = 0.025  # seconds that the quickest of some handshakes may take beyond the round trip, on a busy machine
PINGS = 3
SECONDS = 1.0  # for which a link carries at its full rate
LEAST_RATE = 0.6  # of that rate: slow start takes some, and headers are not counted
LAYER = 4 * MIB  # bytes of a typical one
CLEARLY = 1.5  # times better than the next is what right means here


class Taken(NamedTuple):
    """What a link was measured to be. Seconds, if nothing else is said."""

    connect: float
    api: float
    """For a whole request."""
    blob: float
    """For a typical layer, by the rate."""
    rate: float
    """Bytes a second."""


def curl(stage: Stage, link: str, url: str, *options: str) -> list[float]:
    """Seconds until the connection, the first byte and the end of a request over a link."""
    told = "%{time_connect} %{time_starttransfer} %{time_total}"
    trust = ("--cacert", str(stage.ca), "-o", "/dev/null")
    answer = stage.near.run("curl", "-sS", "--interface", link, *trust, "-w", told, *options, url)
    return [float(word) for word in answer.split()]


def take(stage: Stage, link: str) -> Taken:
    """Measure a link by what clients do: pings of the API, and a layer that it takes some time to carry."""
    pings = [curl(stage, link, f"https://{API_HOST}/v2/") for _ in range(PINGS)]
    connect, _, api = map(min, zip(*pings, strict=True))
    size = round(stage.links.shape(link).megabits * 1e6 / 8 * SECONDS)
    _, first, total = curl(stage, link, f"https://{BLOB_HOST}{LAYER_PATH}", "-r", f"0-{size - 1}")
    rate = size / (total - first)
    return Taken(connect, api, first + LAYER / rate, rate)


def take_all(stage: Stage, *links: str) -> dict[str, Taken]:
    """Measure these links at once: none is in another's way."""
    with ThreadPoolExecutor(len(links)) as pool:
        return dict(zip(links, pool.map(partial(take, stage), links), strict=True))


@pytest.fixture(scope="module")
def usual(stage: Stage) -> dict[str, Taken]:
    """All links as they are at first."""
    return take_all(stage, *SHAPES)


@pytest.fixture(scope="module")
def worse(stage: Stage) -> dict[str, Taken]:
    """The links that changes make worse, each as its change leaves it."""
    with stage.links.restored():
        for change in CHANGES.values():
            stage.links.change(change.link, **change.worse)
        return take_all(stage, *(change.link for change in CHANGES.values()))


def test_links_are_as_long_and_as_fast_as_they_say(usual: dict[str, Taken]) -> None:
    """A handshake takes one round trip, and bytes come at the link's rate."""
    for link, shape in SHAPES.items():
        assert shape.round_trip <= usual[link].connect <= shape.round_trip + SLACK, link
        assert LEAST_RATE <= usual[link].rate * 8 / 1e6 / shape.megabits <= 1.0, link


def test_a_change_makes_a_link_ten_times_worse(usual: dict[str, Taken], worse: dict[str, Taken]) -> None:
    """A tenth of the rate, and ten times the round trip."""
    slow, far = CHANGES["rate"].link, CHANGES["delay"].link
    assert worse[slow].rate * 8 / 1e6 == pytest.approx(SHAPES[slow].megabits / 10, rel=0.2)
    assert worse[slow].connect == pytest.approx(usual[slow].connect, abs=SLACK)
    assert worse[far].connect == pytest.approx(10 * SHAPES[far].round_trip, abs=SLACK)


@pytest.mark.parametrize("role", ["api", "blob"])
def test_right_is_what_is_clearly_the_fastest(role: str, usual: dict[str, Taken]) -> None:
    """The route that is called right for a role takes the least time by far."""
    seconds = {link: getattr(taken, role) for link, taken in usual.items()}
    right = seconds.pop(RIGHT[role])
    assert min(seconds.values()) > CLEARLY * right


@pytest.mark.parametrize("name", CHANGES)
def test_another_route_is_right_after_a_change(name: str, usual: dict[str, Taken], worse: dict[str, Taken]) -> None:
    """What was right takes clearly longer than the route that is to be taken then."""
    change = CHANGES[name]
    role = change.roles[0]
    seconds = {link: getattr(taken, role) for link, taken in {**usual, change.link: worse[change.link]}.items()}
    right = seconds.pop(change.then)
    assert min(seconds.values()) > CLEARLY * right


def test_a_link_that_is_cut_lets_nothing_through(stage: Stage) -> None:
    """What is sent over it is lost; then all goes on."""
    with stage.links.restored():
        stage.links.cut("quick", off=True)
        before = stage.links.counts("quick")
        with pytest.raises(ProgramError):
            curl(stage, "quick", f"https://{API_HOST}/v2/", "--max-time", "0.3")
        counts = stage.links.counts("quick")
        assert counts.carried == before.carried
        assert counts.dropped > before.dropped
    assert curl(stage, "quick", f"https://{API_HOST}/v2/")


def test_a_link_at_its_full_rate_loses_nothing_under_way(stage: Stage) -> None:
    """What carries the packets keeps up: only the token bucket drops any."""
    before = stage.links.counts("wide")
    curl(stage, "wide", f"https://{BLOB_HOST}{LAYER_PATH}", "-r", f"0-{4 * MIB - 1}")
    assert stage.links.counts("wide").dropped == before.dropped
