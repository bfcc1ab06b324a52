"""What Towline learns of a route from tunnels that clients use, over links whose rate is known."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.e2e.rig.certificates import Authority
from tests.e2e.rig.image import LAYER_BYTES, Image, size_of
from tests.e2e.rig.needs import require
from tests.e2e.rig.registry import BLOB_HOST
from tests.e2e.rig.towline import PROXY_URL, StartTowline, Towline
from tests.e2e.rig.world import DEFAULT_LINK, World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

MEGABITS = 40
PAYLOAD = 1448 / (1500 + 14)  # what TCP leaves of an Ethernet frame as tbf counts it, timestamps on
LINK_RATE = MEGABITS * 1e6 / 8 * PAYLOAD  # bytes a second
CLIENT_RATE = 4_000_000  # bytes a second; the link alone gives hundreds of millions
NEAR = 0.1  # what a measured rate may be off by
LOOK = 0.2  # seconds between two looks at the status


def layer_url(image: Image) -> str:
    """Where the far side serves a layer without a token, as behind Docker Hub's redirect."""
    digest = next(digest for digest, blob in image.blobs.items() if size_of(blob) >= LAYER_BYTES).removeprefix(
        "sha256:"
    )
    return f"https://{BLOB_HOST}/docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data"


def known_rate(towline: Towline) -> float | None:
    """What is known of the only route, for Docker Hub."""
    (route,) = towline.status()["routes"]
    rates = [registry["rate_bytes_per_second"] for registry in route["registries"]]
    return next((known for known in rates if known), None)


def rates_while_fetching(
    towline: Towline, world: World, authority: Authority, image: Image, *options: str
) -> list[float | None]:
    """What is known, a few times a second, while a curl fetches a layer through Towline."""
    require("curl")
    argv = ["curl", "-sSf", *options, "--proxy", PROXY_URL, "--cacert", str(authority.ca), "-o", "/dev/null"]
    known = []
    with ThreadPoolExecutor(1) as pool:
        curl = pool.submit(world.near.run, *argv, layer_url(image))
        while not curl.done():
            known.append(known_rate(towline))
            time.sleep(LOOK)
        curl.result()
    return known


def test_a_layer_teaches_the_links_rate_before_it_ends(
    world: World, authority: Authority, image: Image, start_towline: StartTowline
) -> None:
    """Every rate that is told is the link's, from the second second of a layer on."""
    towline = start_towline({"direct": {}})
    with world.slowed(DEFAULT_LINK, MEGABITS):
        known = rates_while_fetching(towline, world, authority, image)
    told = [rate for rate in known if rate is not None]
    assert len(told) > 10
    assert all(rate == pytest.approx(LINK_RATE, rel=NEAR) for rate in told), told


def test_a_client_that_reads_slowly_makes_no_route_slow(
    world: World, authority: Authority, image: Image, start_towline: StartTowline
) -> None:
    """The link is a hundred times faster than its client, and nothing says that the route is slow."""
    towline = start_towline({"direct": {}})
    known = rates_while_fetching(towline, world, authority, image, "--limit-rate", str(CLIENT_RATE))
    assert len(known) > 10
    assert all(rate is None or rate > 4 * CLIENT_RATE for rate in known), known
