"""The container clients: each with a store of its own on the near side, and pointed at the proxy in its documented way.

    Docker      dockerd (classic store) with HTTPS_PROXY in the daemon's environment, `docker pull`
    Containerd  containerd and `ctr`, which pulls in its own process and so takes the proxy from its own environment
    Podman      `podman pull` into its own root
    Skopeo      `skopeo copy` into a folder

`pull()` starts from an empty store and returns the digest that the client says it now has.
"""

from __future__ import annotations

import shutil
import subprocess
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

from tests.e2e.rig.image import REPOSITORY, TAG, digest_of
from tests.e2e.rig.namespace import Namespace
from tests.e2e.rig.process import Daemon, environment, undone_on_failure
from tests.e2e.rig.registry import PLAIN_HOST, PLAIN_PORT

HUB_REFERENCE = f"docker.io/{REPOSITORY}:{TAG}"
PLAIN_REFERENCE = f"{PLAIN_HOST}:{PLAIN_PORT}/{REPOSITORY}:{TAG}"

PULL_TIMEOUT = 45.0  # seconds for 128 MiB over loopback on a busy two-core machine; 1 to 4 are usual
DAEMON_TIMEOUT = 40.0  # seconds until a daemon answers; a second is usual

# Left out: Kubernetes's plugin, and the one that makes a folder in /opt.
CONTAINERD = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "{socket}"
"""


class ContainerClient(ABC):
    """One container client. Its owner calls `close()`."""

    name: ClassVar[str]

    def __init__(self, near: Namespace, proxy: str, ca: Path) -> None:
        self._near = near
        self.folder = near.folder / self.name
        self.folder.mkdir()
        # Go programs read the proxy and their root certificates from these; no_proxy stays unset on purpose.
        self.env = environment(self.folder, HTTPS_PROXY=proxy, HTTP_PROXY=proxy, SSL_CERT_FILE=str(ca))
        self._owned = ExitStack()
        if command := self.daemon_command():
            daemon = near.start(command[0], *command, env=self.env)
            self._owned.enter_context(daemon)
            with undone_on_failure(self._owned):
                daemon.wait_until(self._answers, f"{daemon.name} answers", timeout=DAEMON_TIMEOUT)

    def daemon_command(self) -> list[str]:
        """The daemon to start; none where the client needs none."""
        return []

    def ping_command(self) -> list[str]:
        """A command that succeeds once the daemon answers."""
        return ["true"]

    @abstractmethod
    def pull_command(self, reference: str) -> list[str]:
        """The command that pulls `reference`."""

    @abstractmethod
    def digest(self, reference: str) -> str:
        """The manifest digest of what the store holds under `reference`."""

    @abstractmethod
    def empty(self) -> None:
        """Make the store empty: no image, no layer."""

    def pull(self, reference: str = HUB_REFERENCE) -> str:
        """Pull into an empty store; the digest."""
        self.empty()
        self._near.run(*self.pull_command(reference), env=self.env, timeout=PULL_TIMEOUT)
        return self.digest(reference)

    def try_pull(self, reference: str = HUB_REFERENCE) -> subprocess.CompletedProcess[str]:
        """Pull into an empty store; the command's result, good or bad."""
        self.empty()
        return self._near.run_any(*self.pull_command(reference), env=self.env, timeout=PULL_TIMEOUT)

    def start_pull(self, reference: str = HUB_REFERENCE) -> Daemon:
        """Begin to pull into an empty store; the caller owns the process."""
        self.empty()
        return self._near.start(f"{self.name}-pull", *self.pull_command(reference), env=self.env)

    def _run(self, *argv: str) -> str:
        return self._near.run(*argv, env=self.env)

    def _answers(self) -> bool:
        return self._near.run_any(*self.ping_command(), env=self.env).returncode == 0

    def close(self) -> None:
        """Stop what was started."""
        self._owned.close()


class Docker(ContainerClient):
    """dockerd with its classic store; one daemon for the whole session, as a user's would be."""

    name = "docker"

    @property
    def _socket(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    def _docker(self, *argv: str) -> list[str]:
        return ["docker", "--host", self._socket, *argv]

    def daemon_command(self) -> list[str]:
        settings = self.folder / "daemon.json"  # instead of the machine's
        settings.write_text("{}")
        return [
            "dockerd", "--config-file", str(settings), "--host", self._socket,
            "--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec"),
            "--pidfile", str(self.folder / "docker.pid"), "--bridge=none", "--iptables=false",
            "--insecure-registry", f"{PLAIN_HOST}:{PLAIN_PORT}",
        ]  # fmt: skip

    def ping_command(self) -> list[str]:
        return self._docker("info")

    def pull_command(self, reference: str) -> list[str]:
        return self._docker("pull", reference)

    def digest(self, reference: str) -> str:
        digests = self._run(*self._docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", reference))
        return digests.strip().rpartition("@")[2]

    def empty(self) -> None:
        if images := self._run(*self._docker("image", "ls", "--quiet")).split():
            self._run(*self._docker("image", "rm", "--force", *images))


class Containerd(ContainerClient):
    """containerd, driven by `ctr`."""

    name = "ctr"

    @property
    def _socket(self) -> str:
        return str(self.folder / "containerd.sock")

    def _ctr(self, *argv: str) -> list[str]:
        return ["ctr", "--address", self._socket, *argv]

    def daemon_command(self) -> list[str]:
        config = self.folder / "config.toml"
        config.write_text(CONTAINERD.format(folder=self.folder, socket=self._socket))
        return ["containerd", "--config", str(config)]

    def ping_command(self) -> list[str]:
        return self._ctr("version")

    def pull_command(self, reference: str) -> list[str]:
        return self._ctr("images", "pull", reference)

    def digest(self, reference: str) -> str:
        for line in self._run(*self._ctr("images", "ls")).splitlines():
            match line.split():
                case [name, _, digest, *_] if name == reference:
                    return digest
        return ""

    def empty(self) -> None:
        if images := self._run(*self._ctr("images", "ls", "--quiet")).split():
            # --sync waits for the garbage collection that frees the layers.
            self._run(*self._ctr("images", "rm", "--sync", *images))


class Podman(ContainerClient):
    """podman as root, with a root of its own."""

    name = "podman"

    def _podman(self, *argv: str) -> list[str]:
        places = [f"--{option}={self.folder / option}" for option in ("root", "runroot", "tmpdir")]
        return ["podman", *places, "--storage-driver=overlay", "--cgroup-manager=cgroupfs", *argv]

    def pull_command(self, reference: str) -> list[str]:
        return self._podman("pull", "--quiet", reference)

    def digest(self, reference: str) -> str:
        return self._run(*self._podman("image", "inspect", "--format", "{{.Digest}}", reference)).strip()

    def empty(self) -> None:
        self._run(*self._podman("image", "rm", "--all", "--force"))


class Skopeo(ContainerClient):
    """skopeo, which needs no daemon and copies into a plain folder."""

    name = "skopeo"

    @property
    def _target(self) -> Path:
        return self.folder / "copy"

    def pull_command(self, reference: str) -> list[str]:
        insecure = ["--src-tls-verify=false"] if reference == PLAIN_REFERENCE else []
        return ["skopeo", "--insecure-policy", "copy", *insecure, f"docker://{reference}", f"dir:{self._target}"]

    def digest(self, reference: str) -> str:
        return digest_of((self._target / "manifest.json").read_bytes())

    def empty(self) -> None:
        shutil.rmtree(self._target, ignore_errors=True)
