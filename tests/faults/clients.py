"""The clients of the fault tests: the rig's, ready for pulls that fail, and a Go client of our own."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

from tests.e2e.rig import clients
from tests.e2e.rig.clients import ContainerClient, Docker, Skopeo
from tests.e2e.rig.foreign import build_go
from tests.e2e.rig.namespace import Namespace
from tests.e2e.rig.process import Daemon

GO_SOURCE = Path(__file__).parent / "goclient" / "main.go"
SLOW_RATE = 1_500_000  # bytes a second of each blob, for the client that reads slowly: four times slower than it could


class Containerd(clients.Containerd):
    """containerd driven by ctr."""

    def empty(self) -> None:
        """Make the store empty, also of what a pull holds that was killed; --sync waits until it is gone."""
        super().empty()
        if leases := self._run(*self._ctr("leases", "ls", "--quiet")).split():
            self._run(*self._ctr("leases", "rm", "--sync", *leases))


class Podman(clients.Podman):
    """podman."""

    def empty(self) -> None:
        """Remove the store: podman's own command leaves the layers of failed pulls in place."""
        shutil.rmtree(self.folder / "root", ignore_errors=True)


class GoClient(ContainerClient):
    """Our own, which follows containers/image's present rule and keeps nothing: goclient/main.go."""

    name = "goclient"

    def __init__(self, near: Namespace, proxy: str, ca: Path) -> None:
        super().__init__(near, proxy, ca)
        self._program = self.folder / self.name
        build_go(GO_SOURCE, self._program)

    def pull_command(self, reference: str) -> list[str]:
        """The command that pulls `reference`."""
        return [str(self._program), reference]

    def digest(self, reference: str) -> str:
        """What the last pull printed."""
        del reference
        return str(json.loads((self._near.folder / f"{self.name}-pull.log").read_text())["digest"])

    def empty(self) -> None:
        """Nothing to do."""


class Crio(GoClient):
    """The same under a name by which Towline knows its rule."""

    name = "crio"


class SlowReader(GoClient):
    """The same, reading no faster than SLOW_RATE."""

    name = "slowreader"

    def pull_command(self, reference: str) -> list[str]:
        """The command that pulls `reference`."""
        return [str(self._program), "-rate", str(SLOW_RATE), reference]


CLIENTS: dict[str, tuple[type[ContainerClient], tuple[str, ...]]] = {
    "docker": (Docker, ("dockerd", "docker", "containerd")),
    "ctr": (Containerd, ("containerd", "ctr")),
    "goclient": (GoClient, ("go",)),
    "crio": (Crio, ("go",)),
    "slowreader": (SlowReader, ("go",)),
    "podman": (Podman, ("podman",)),
    "skopeo": (Skopeo, ("skopeo",)),
}
"""Each client with the programs that it needs."""

OWN_WAIT = {"docker": 5.0, "ctr": 0.0, "goclient": 1.1, "crio": 1.1, "slowreader": 1.1}
"""Seconds that a client waits before it resumes a layer (clients.md A.2, A.3, A.5); those not named do not resume."""


def signal_reader(client: ContainerClient, pull: Daemon, number: signal.Signals) -> None:
    """Send a signal to whatever of a client reads from the network: dockerd, else the process of the pull itself."""
    if isinstance(client, Docker):
        # The pid that the daemon knows is the one in its own namespace of processes, where `kill` runs, too.
        pid = (client.folder / "docker.pid").read_text()
        client._run("kill", f"-{number.name.removeprefix('SIG')}", pid)
    else:
        pull.signal(number)
