"""What stands for a whole run of the fault tests: the world, its links slowed down, registry, faulty proxy, clients.

A Towline stands for one pull only: what it learned from one fault would keep it out of the way of the next.
"""

from __future__ import annotations

import itertools
import shutil
import socket
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from tests.e2e.rig.certificates import Authority
from tests.e2e.rig.clients import ContainerClient
from tests.e2e.rig.image import make_image
from tests.e2e.rig.process import undone_on_failure
from tests.e2e.rig.registry import Registry
from tests.e2e.rig.towline import PROXY_URL, Towline
from tests.e2e.rig.upstreams import PROXY_HOST
from tests.e2e.rig.world import PROXY, World
from tests.faults.clients import CLIENTS
from tests.faults.links import Links
from tests.faults.meter import Meter
from tests.faults.proxy import FaultyProxy

LAYER_BYTES = 16 * 2**20  # four of them: cuts after 6 MB hit every layer, and cuts at a third of the pull all at once
LINK_MEGABITS = 200  # of each link: the 64 MiB take 2.8 s, time enough for faults to strike, and a quarter of one core
PROXY_PORT = 4128
NO_PASSWORD = "!"  # crypt(3) knows no such hash: the proxies of the end-to-end tests are not here
FAULTY_PROXY = f"http://{PROXY_HOST}:{PROXY_PORT}"


class Stage:
    """All of it, up once made; `close()` takes it down."""

    def __init__(self) -> None:
        self._owned = ExitStack()
        self._clients: dict[str, ContainerClient] = {}
        self._numbers = itertools.count()
        with undone_on_failure(self._owned):
            # Servers that drop their privileges must get in, which mkdtemp forbids.
            self._folder = Path(tempfile.mkdtemp(prefix="towline-faults-"))
            self._owned.callback(shutil.rmtree, self._folder)
            self._folder.chmod(0o755)
            self.world = self._owned.enter_context(closing(World(self._folder, NO_PASSWORD)))
            (self._folder / "ca").mkdir()
            self._authority = Authority(self._folder / "ca")
            self.image = make_image(LAYER_BYTES)
            self._owned.enter_context(closing(Registry(self.world.far, self._authority, self.image)))
            self.links = Links(self.world, LINK_MEGABITS)
            self.meter = Meter(self.world)
            far = self.world.far
            self.proxy = FaultyProxy(far.start, "faulty-proxy", (PROXY, PROXY_PORT), far.folder)
            self._owned.callback(self.proxy.close)

    def client(self, name: str) -> ContainerClient:
        """The client of this name; it is started when first asked for and stands as long as the stage."""
        if name not in self._clients:
            kind, _ = CLIENTS[name]
            client = kind(self.world.near, PROXY_URL, self._authority.ca)
            self._clients[name] = self._owned.enter_context(closing(client))
        return self._clients[name]

    def start_towline(
        self, routes: dict[str, Any], *, listener: socket.socket | None = None, **sections: Any
    ) -> Towline:
        """A Towline that has learned nothing yet; the caller stops it."""
        folder = self._folder / f"towline-{next(self._numbers)}"
        folder.mkdir()
        near, ca = self.world.near, self._authority.ca
        return Towline(near, folder, routes, ca=ca, listener=listener, **sections)

    def close(self) -> None:
        """Take everything down."""
        self._owned.close()
