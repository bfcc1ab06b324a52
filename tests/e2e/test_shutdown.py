"""SIGTERM in the middle of a pull: readiness goes first, open tunnels last; a second signal ends all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from tests.e2e.rig.clients import HUB_REFERENCE, ContainerClient
from tests.e2e.rig.image import LAYERS, Image
from tests.e2e.rig.process import Daemon, wait_until
from tests.e2e.rig.towline import StartTowline, Towline
from tests.e2e.rig.world import DEFAULT_LINK, World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

LINK_MEGABITS = 300  # the 128 MiB take 3.6 s: time enough for signals in the middle
PULL_SECONDS = 30.0
SECOND_SIGNAL_SECONDS = 1.0


@pytest.fixture
def slow_pull(
    world: World, client: Callable[[str], ContainerClient], start_towline: StartTowline
) -> Iterator[tuple[Towline, Daemon]]:
    """A Towline and a pull through it, caught while every layer is on its way.

    ctr asks for all layers at once, so that the rest of the pull needs no new connection.
    """
    towline = start_towline({"direct": {}}, limits={"drain": PULL_SECONDS})
    with world.slowed(DEFAULT_LINK, LINK_MEGABITS), client("ctr").start_pull() as pull:
        pull.wait_until(lambda: layers_under_way(towline) == LAYERS, "every layer is under way", timeout=20)
        yield towline, pull


def layers_under_way(towline: Towline) -> int:
    """Tunnels that have brought a good part of a layer, and so are not the ones of manifest and configuration."""
    tunnels = towline.status()["tunnels"]
    return sum(tunnel["role"] == "blob" and tunnel["bytes_in"] > 2**20 for tunnel in tunnels)


def await_draining(towline: Towline) -> None:
    """Wait until readiness turns false."""
    wait_until(lambda: towline.ready()[0] == 503, "readiness turns false", timeout=3, told=towline.process.output)


def test_a_pull_under_way_is_finished(
    slow_pull: tuple[Towline, Daemon], client: Callable[[str], ContainerClient], image: Image
) -> None:
    """After SIGTERM Towline says that it is not ready, finishes the pull, and exits with 0."""
    towline, pull = slow_pull
    towline.terminate()
    await_draining(towline)
    assert pull.running, "the pull must still be under way when readiness turns false"
    assert pull.join(PULL_SECONDS) == 0, pull.output()
    assert towline.process.join(5) == 0
    assert client("ctr").digest(HUB_REFERENCE) == image.digest


def test_a_second_signal_ends_it_at_once(slow_pull: tuple[Towline, Daemon]) -> None:
    """A second SIGTERM ends Towline within a second, and its client sees a clean end of stream, not a reset."""
    towline, pull = slow_pull
    towline.terminate()
    await_draining(towline)
    began = time.monotonic()
    towline.terminate()
    assert towline.process.join(5) == 0
    assert time.monotonic() - began <= SECOND_SIGNAL_SECONDS
    assert pull.join(10) != 0
    assert "unexpected EOF" in pull.output()
    assert "reset" not in pull.output()
