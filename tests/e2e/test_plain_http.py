"""Plain HTTP: absolute-form requests, which insecure registries and some storage redirects lead to."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.rig.clients import PLAIN_REFERENCE, ContainerClient
from tests.e2e.rig.image import Image
from tests.e2e.rig.needs import require
from tests.e2e.rig.process import environment
from tests.e2e.rig.registry import DOCS_HOST, PLAIN_HOST, PLAIN_PORT, Registry
from tests.e2e.rig.towline import PROXY_URL, StartTowline
from tests.e2e.rig.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

DOCUMENT_BYTES = 20_000_000


def test_document_arrives_byte_for_byte(
    world: World, registry: Registry, folder: Path, start_towline: StartTowline
) -> None:
    """curl with http_proxy gets a 20 MB document over port 80 exactly as it was published."""
    require("curl")
    content = random.Random("plain").randbytes(DOCUMENT_BYTES)
    (registry.documents / "plain.bin").write_bytes(content)
    place = folder / "plain"
    place.mkdir()
    towline = start_towline({"direct": {}})
    env = environment(place, http_proxy=PROXY_URL)
    world.near.run("curl", "-sSf", "-o", str(place / "plain.bin"), f"http://{DOCS_HOST}/plain.bin", env=env)
    assert (place / "plain.bin").read_bytes() == content
    (tunnel,) = towline.finish()
    assert tunnel["target"] == f"{DOCS_HOST}:80"
    assert tunnel["bytes_in"] > len(content)


@pytest.mark.parametrize("name", ["docker", "skopeo"])
def test_pull_from_an_insecure_registry(
    name: str, client: Callable[[str], ContainerClient], image: Image, start_towline: StartTowline
) -> None:
    """A pull from a registry without TLS gives the pushed digest, all of it through Towline."""
    puller = client(name)
    towline = start_towline({"direct": {}})
    assert puller.pull(PLAIN_REFERENCE) == image.digest
    tunnels = towline.finish()
    assert {tunnel["target"] for tunnel in tunnels} == {f"{PLAIN_HOST}:{PLAIN_PORT}"}
    assert sum(tunnel["bytes_in"] for tunnel in tunnels) >= image.size
