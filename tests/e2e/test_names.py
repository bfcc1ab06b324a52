"""A network that forges names: no forged address gets a client's bytes twice, and pulls go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.rig.certificates import Authority
from tests.e2e.rig.clients import ContainerClient
from tests.e2e.rig.forger import HOSTS
from tests.e2e.rig.image import Image
from tests.e2e.rig.names import FORGED, OVER_HTTPS, TRUE, Names
from tests.e2e.rig.needs import require
from tests.e2e.rig.process import wait_until
from tests.e2e.rig.routes import ROUTE
from tests.e2e.rig.towline import StartTowline, Towline
from tests.e2e.rig.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.usefixtures("upstreams")]

# `direct` ranks first, by the order of the file; the proxy resolves names on the far side, where nobody forges.
DIRECT_FIRST: dict[str, Any] = {"direct": {}, "office": ROUTE["squid"].settings}
PULLS = 2

type Forging = Callable[..., Names]


@pytest.fixture
def forging(world: World, authority: Authority, tmp_path: Path) -> Iterator[Forging]:
    """Starts what answers for names on the far side."""
    require("dnsmasq")
    with ExitStack() as owned:
        yield lambda **options: owned.enter_context(closing(Names(world, authority, tmp_path, **options)))


def found_out(towline: Towline) -> set[str]:
    """The hosts of which the log says that `direct` finds somebody else in their place."""
    told = [record for record in towline.records() if record["event"] in {"poisoned", "suspect"}]
    assert all(record["route"] == "direct" and record["why"].startswith(FORGED) for record in told)
    assert [bool(record["hint"]) for record in told[:2]] in ([], [True], [True, False])  # what to do is said once
    return {record["target"].removesuffix(":443") for record in told}


def test_a_page_in_the_place_of_a_registry(
    forging: Forging,
    authority: Authority,
    client: Callable[[str], ContainerClient],
    image: Image,
    start_towline: StartTowline,
) -> None:
    """The first flight sees it: the very first pull succeeds by the next route, and goes to a forged address once."""
    names = forging(forges_tls=False)
    towline = start_towline(DIRECT_FIRST, ca=authority.ca, machine=names.machine)
    for _ in range(PULLS):
        assert client("skopeo").pull() == image.digest
    assert {tunnel["route"] for tunnel in towline.finish()} == {"office"}
    assert names.hellos(ours=False) == {"registry-1.docker.io": 1}
    assert found_out(towline) == {"registry-1.docker.io"}


def test_a_certificate_of_somebody_else(
    forging: Forging,
    authority: Authority,
    client: Callable[[str], ContainerClient],
    image: Image,
    start_towline: StartTowline,
) -> None:
    """A client that meets it fails, as it should; then it is known, for all of the registry: the next pull succeeds."""
    names = forging(forges_tls=True)
    towline = start_towline(DIRECT_FIRST, ca=authority.ca, machine=names.machine)
    failed = client("skopeo").try_pull()
    assert "x509" in failed.stderr
    wait_until(lambda: found_out(towline) == set(HOSTS), "the log tells of every host", timeout=10)
    for _ in range(PULLS):
        assert client("skopeo").pull() == image.digest
    ways = [(tunnel["route"], tunnel["peer"]) for tunnel in towline.finish()]
    assert ways.count(("direct", f"{FORGED}:443")) == 1
    assert {route for route, peer in ways if peer != f"{FORGED}:443"} == {"office"}
    assert names.hellos(ours=False) == {"registry-1.docker.io": 1}


@pytest.mark.parametrize("server", [f"udp://{TRUE}", f"https://{OVER_HTTPS}/dns-query"], ids=["udp", "https"])
def test_a_server_that_tells_the_truth(
    server: str,
    forging: Forging,
    authority: Authority,
    client: Callable[[str], ContainerClient],
    image: Image,
    start_towline: StartTowline,
) -> None:
    """With one of its own, asked over it, `direct` needs no other route, and nothing goes to a forged address."""
    names = forging(forges_tls=True)
    towline = start_towline({"direct": {"dns": server}}, ca=authority.ca, machine=names.machine)
    (route,) = towline.status()["routes"]
    assert route["names"] == server
    assert client("skopeo").pull() == image.digest
    assert {tunnel["route"] for tunnel in towline.finish()} == {"direct"}
    assert found_out(towline) == set()
    assert names.hellos(ours=False) + names.hellos(ours=True) == {}
    assert names.true_questions() == 2 * len(HOSTS)  # both families, once
