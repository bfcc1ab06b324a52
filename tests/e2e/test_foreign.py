"""Eight CONNECT clients that Towline was not made for fetch a document through it, byte for byte."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.rig import foreign
from tests.e2e.rig.certificates import Authority
from tests.e2e.rig.foreign import Fetch
from tests.e2e.rig.needs import require
from tests.e2e.rig.registry import DOCS_HOST, Registry
from tests.e2e.rig.towline import StartTowline
from tests.e2e.rig.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(foreign.GO_BUILD_TIMEOUT + 60)]

CLIENTS: dict[str, tuple[Callable[[Fetch], bytes], tuple[str, ...]]] = {
    "curl": (foreign.curl, ("curl",)),
    "wget": (foreign.wget, ("wget",)),
    "socat": (foreign.socat, ("socat", "ss", "curl")),
    "openssl": (foreign.openssl, ("openssl",)),
    "git": (foreign.git, ("git",)),
    "aria2": (foreign.aria2, ("aria2c",)),
    "go": (foreign.go, ("go",)),
    "httpx": (foreign.httpx, ()),
}


@pytest.fixture(scope="module")
def content(registry: Registry) -> bytes:
    """The document: 4 MiB of noise, published."""
    require("git")
    noise = random.Random("foreign").randbytes(4 * 2**20)
    foreign.publish(registry.documents, noise)
    return noise


@pytest.mark.parametrize("name", CLIENTS)
def test_document_arrives_byte_for_byte(
    name: str, world: World, authority: Authority, content: bytes, folder: Path, start_towline: StartTowline
) -> None:
    """The client gets exactly the published bytes, over tunnels that Towline logged."""
    fetch_document, programs = CLIENTS[name]
    require(*programs)
    place = folder / f"foreign-{name}"
    place.mkdir()
    towline = start_towline({"direct": {}})
    assert fetch_document(Fetch(world.near, authority.ca, place)) == content
    tunnels = towline.finish()
    assert {(tunnel["target"], tunnel["route"]) for tunnel in tunnels} == {(f"{DOCS_HOST}:443", "direct")}
    assert sum(tunnel["bytes_in"] for tunnel in tunnels) > len(content)
