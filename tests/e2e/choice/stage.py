"""What stands for a whole run: two sides, three links between them, and Docker Hub in small on the far one.

The registry, its token service and its web server are those of the other end-to-end tests, under Docker Hub's names.
Each link is a route of Towline's, of the same name; a Towline stands for one measurement only.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from tests.e2e.choice.links import Links
from tests.e2e.rig.certificates import Authority
from tests.e2e.rig.image import make_image
from tests.e2e.rig.namespace import Namespace
from tests.e2e.rig.process import undone_on_failure
from tests.e2e.rig.registry import Registry
from tests.e2e.rig.towline import Towline
from tests.e2e.rig.world import HOSTS, REGISTRY, WEB

LAYER_BYTES = 2**20  # of the image that is in the registry; the layers that are pulled are files of their own
LARGEST = 16 * 2**20  # bytes of a layer that is pulled
LAYER_PATH = "/layer"

FIRST_PORT = 10_000  # and up to where the kernel's own choices begin: 22,000 visits

# The worst first: who goes by the order of the configuration is wrong every time.
ROUTES: dict[str, Any] = {name: {"interface": name} for name in ("poor", "wide", "quick")}


class Stage:
    """All of it, up once made; `close()` takes it down."""

    def __init__(self) -> None:
        self._owned = ExitStack()
        self._numbers = itertools.count()
        self.ports = itertools.count(FIRST_PORT)
        """Ports for visits to come from: each is used once, so that a visit is known by it."""
        with undone_on_failure(self._owned):
            # Servers that drop their privileges must get in, which mkdtemp forbids.
            self._folder = Path(tempfile.mkdtemp(prefix="towline-choice-"))
            self._owned.callback(shutil.rmtree, self._folder)
            self._folder.chmod(0o755)
            files = {"/etc/hosts": HOSTS, "/etc/resolv.conf": ""}
            self.near = self._own(Namespace("near", self._folder, files))
            self.far = self._own(Namespace("far", self._folder, files))
            self.far.ip(*(f"address add {address}/32 dev lo" for address in (REGISTRY, WEB)))
            self.links = self._owned.enter_context(closing(Links(self.near, self.far)))
            (self._folder / "ca").mkdir()
            authority = Authority(self._folder / "ca")
            self.ca = authority.ca
            registry = Registry(self.far, authority, make_image(LAYER_BYTES))
            self._owned.enter_context(closing(registry))
            (registry.storage / LAYER_PATH.strip("/")).write_bytes(random.Random(1).randbytes(LARGEST))
            self.token: str = json.loads((self.far.folder / "token.json").read_text())["token"]

    def _own(self, side: Namespace) -> Namespace:
        self._owned.callback(side.close)
        return side

    def start_towline(self, **sections: Any) -> Towline:
        """A Towline that has learned nothing yet, with every link as a route; the caller stops it."""
        folder = self._folder / f"towline-{next(self._numbers)}"
        folder.mkdir()
        return Towline(self.near, folder, ROUTES, ca=self.ca, **sections)

    def close(self) -> None:
        """Take everything down."""
        self._owned.close()
