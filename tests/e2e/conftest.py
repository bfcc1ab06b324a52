"""One world per test run: namespaces, registry, proxies and container clients; a Towline of its own for every test."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.rig.certificates import Authority
from tests.e2e.rig.clients import ContainerClient, Containerd, Docker, Podman, Skopeo
from tests.e2e.rig.image import Image, make_image
from tests.e2e.rig.needs import require, require_namespaces
from tests.e2e.rig.process import environment, run
from tests.e2e.rig.registry import Registry
from tests.e2e.rig.routes import Witnesses, lay_out
from tests.e2e.rig.towline import PROXY_URL, StartTowline, Towline
from tests.e2e.rig.upstreams import Upstreams
from tests.e2e.rig.world import PROXY_PASSWORD, World

NEEDED_BY_ALL = (
    "ip", "nft", "nsenter", "unshare", "tc", "sysctl", "openssl",
    "docker-registry", "nginx", "squid", "tinyproxy", "microsocks",
)  # fmt: skip
CLIENTS: dict[str, tuple[type[ContainerClient], tuple[str, ...]]] = {
    "docker": (Docker, ("dockerd", "docker", "containerd")),
    "ctr": (Containerd, ("containerd", "ctr")),
    "podman": (Podman, ("podman",)),
    "skopeo": (Skopeo, ("skopeo",)),
}


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Where everything lies; servers that drop their privileges must get in, which pytest's own folder forbids."""
    path = Path(tempfile.mkdtemp(prefix="towline-e2e-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def world(folder: Path) -> Iterator[World]:
    """The two sides and their links."""
    require_namespaces()
    require(*NEEDED_BY_ALL)
    hashed = run(["openssl", "passwd", "-6", "-stdin"], env=environment(folder), stdin=PROXY_PASSWORD).strip()
    with closing(World(folder, hashed)) as made:
        yield made


@pytest.fixture(scope="session")
def authority(folder: Path) -> Authority:
    """The certificate authority that signs for every name."""
    place = folder / "ca"
    place.mkdir()
    return Authority(place)


@pytest.fixture(scope="session")
def image() -> Image:
    """The image that every client pulls."""
    return make_image()


@pytest.fixture(scope="session")
def registry(world: World, authority: Authority, image: Image) -> Iterator[Registry]:
    """Docker Hub in small, with the image in it."""
    with closing(Registry(world.far, authority, image)) as made:
        yield made


@pytest.fixture(scope="session")
def upstreams(world: World, authority: Authority) -> Iterator[Upstreams]:
    """The upstream proxies."""
    with closing(Upstreams(world, authority)) as made:
        yield made


@pytest.fixture(scope="session")
def client(world: World, registry: Registry, authority: Authority) -> Iterator[Callable[[str], ContainerClient]]:
    """The container client of this name; its daemon is started when first asked for and serves the whole session."""
    made: dict[str, ContainerClient] = {}
    with ExitStack() as owned:

        def named(name: str) -> ContainerClient:
            if name not in made:
                kind, programs = CLIENTS[name]
                require(*programs)
                made[name] = owned.enter_context(closing(kind(world.near, PROXY_URL, authority.ca)))
            return made[name]

        yield named


@pytest.fixture(scope="session")
def towline_folders(folder: Path) -> Iterator[Path]:
    """A new folder for every Towline."""
    return (folder / f"towline-{number}" for number in itertools.count())


@pytest.fixture
def start_towline(
    world: World, registry: Registry, authority: Authority, towline_folders: Iterator[Path]
) -> Iterator[StartTowline]:
    """Start a Towline with these routes; stopped after the test, its log shown where the test failed."""
    started: list[Towline] = []
    with ExitStack() as owned:

        def start(routes: dict[str, Any] | None, **sections: Any) -> Towline:
            place = next(towline_folders)
            place.mkdir()
            lay_out(place, authority.ca)
            started.append(owned.enter_context(Towline(world.near, place, routes, **sections)))
            return started[-1]

        yield start
    for towline in started:
        print(towline.process.output())  # noqa: T201 - pytest shows it beside a failed test and nowhere else


@pytest.fixture
def witnesses(world: World, upstreams: Upstreams) -> Witnesses:
    """What every link and proxy sees during the test."""
    return Witnesses(world, upstreams)
