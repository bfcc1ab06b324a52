"""A network and mount namespace of the test's own, held open by one sleeping process.

Programs enter it by exec (`nsenter`), so the pid that is started is the pid of the program. Nothing on the machine is
changed: names and users are files bound over /etc inside the mount namespace, and everything vanishes with the holder.
The holder and all that enters carry a parent-death signal, so a killed test run leaves nothing behind.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.rig.process import Daemon, ProgramError, environment, run, run_any

START_TIMEOUT = 20.0  # seconds until a server accepts connections; a tenth of one is usual
_DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")


class Namespace:
    """A private network with its own loopback, and a private view of some files of /etc."""

    def __init__(self, name: str, folder: Path, files: Mapping[str, str]) -> None:
        """Make it; `files` maps absolute paths to the text that is seen there inside."""
        self.name = name
        self.folder = folder / name
        self.folder.mkdir(mode=0o755)
        self.env = environment(self.folder)
        binds = [f"mount --bind {self._private(text, path)} {os.path.realpath(path)}" for path, text in files.items()]
        script = " && ".join([*binds, "ip link set lo up", "echo ready", "exec sleep infinity"])
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", *_DIES_WITH_US, "sh", "-c", script],
            env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert self._holder.stdout is not None
        if (said := self._holder.stdout.readline()) != "ready\n":
            self.close()
            raise ProgramError(f"the namespace {name} could not be made: {said}")

    def _private(self, text: str, path: str) -> Path:
        file = self.folder / path.strip("/").replace("/", ".")
        file.write_text(text)
        return file

    @property
    def pid(self) -> int:
        """The holder's process id: what `ip link ... netns PID` wants."""
        return self._holder.pid

    def inside(self, *argv: str) -> list[str]:
        """The command line that runs `argv` in here."""
        return ["nsenter", "--target", str(self.pid), "--net", "--mount", "--", *_DIES_WITH_US, *argv]

    def run(
        self, *argv: str, env: Mapping[str, str] | None = None, timeout: float = 60, stdin: str | None = None
    ) -> str:
        """Standard output of a command in here that must succeed."""
        return run(self.inside(*argv), env=env or self.env, timeout=timeout, stdin=stdin)

    def run_any(
        self, *argv: str, env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """The result of a command in here, whatever its exit code."""
        return run_any(self.inside(*argv), env=env or self.env, timeout=timeout)

    def start(self, name: str, *argv: str, env: Mapping[str, str] | None = None) -> Daemon:
        """Start a program in here that stays, with its output in `name`.log; the caller owns it."""
        return Daemon(name, self.inside(*argv), env=env or self.env, log=self.folder / f"{name}.log")

    def connect(self, address: tuple[str, int], timeout: float = 5.0) -> socket.socket:
        """A TCP connection made from in here to a literal address; the caller owns it."""
        with self._entered():
            return socket.create_connection(address, timeout=timeout)

    @contextmanager
    def http(self, address: tuple[str, int], timeout: float = 30.0) -> Iterator[http.client.HTTPConnection]:
        """An HTTP connection made from in here, closed at the end."""
        connection = http.client.HTTPConnection(*address, timeout=timeout)
        connection.sock = self.connect(address, timeout)
        try:
            yield connection
        finally:
            connection.close()

    def await_listener(self, daemon: Daemon, address: tuple[str, int]) -> None:
        """Wait until `daemon` accepts connections at this address."""
        daemon.wait_until(lambda: self._listens(address), f"{daemon.name} accepts at {address}", timeout=START_TIMEOUT)

    def _listens(self, address: tuple[str, int]) -> bool:
        try:
            self.connect(address, timeout=1.0).close()
        except OSError:
            return False
        return True

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """Move this thread, and no other, into the network namespace for a moment: a socket stays where it was made."""
        with _opened("/proc/thread-self/ns/net") as here, _opened(f"/proc/{self.pid}/ns/net") as there:
            os.setns(there, os.CLONE_NEWNET)
            try:
                yield
            finally:
                os.setns(here, os.CLONE_NEWNET)

    def close(self) -> None:
        """End the holder; the kernel takes the namespaces down when the last program in them is gone."""
        self._holder.kill()
        self._holder.wait()
        if self._holder.stdout is not None:
            self._holder.stdout.close()


@contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
