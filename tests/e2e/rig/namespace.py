"""A machine of the test's own, as far as the kernel can make one: its network, processes and some files of /etc.

Its first process waits for the end of a pipe that the test run holds. When the run closes it, or dies, that process
ends and the kernel ends all others in there, whatever has daemonized or changed its user meanwhile. Programs are forked
straight into the namespaces, so that the pid of what is started is the pid of the program. Nothing on the machine is
changed: names and users are files bound over /etc inside.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.rig.process import Daemon, ProgramError, environment, run, run_any

START_TIMEOUT = 20.0  # seconds until a server accepts connections; a tenth of one is usual

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000  # IP packets, and nothing in front of them


class Namespace:
    """Private network, process and mount namespaces; `close()` ends whatever still runs in them."""

    def __init__(self, name: str, folder: Path, files: Mapping[str, str]) -> None:
        """Make it; `files` maps absolute paths to the text that is seen there inside."""
        self.name = name
        self.folder = folder / name
        self.folder.mkdir(mode=0o755)
        self.env = environment(self.folder)
        binds = [f"mount --bind {self._private(text, path)} {os.path.realpath(path)}" for path, text in files.items()]
        script = " && ".join([*binds, "ip link set lo up", "echo ready", "read -r end"])
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", script],
            env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
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
        """A process id on the machine's side by which the network namespace is found: for `ip link ... netns PID`."""
        return self._holder.pid

    def run(
        self, *argv: str, env: Mapping[str, str] | None = None, timeout: float = 60, stdin: str | None = None
    ) -> str:
        """Standard output of a command in here that must succeed."""
        with self._entered("pid_for_children", os.CLONE_NEWPID):
            return run(self._inside(argv), env=env or self.env, timeout=timeout, stdin=stdin)

    def run_any(
        self, *argv: str, env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """The result of a command in here, whatever its exit code."""
        with self._entered("pid_for_children", os.CLONE_NEWPID):
            return run_any(self._inside(argv), env=env or self.env, timeout=timeout)

    def start(
        self, name: str, *argv: str, env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
    ) -> Daemon:
        """Start a program in here that stays, with its output in `name`.log; the caller owns it."""
        log = self.folder / f"{name}.log"
        with self._entered("pid_for_children", os.CLONE_NEWPID):
            return Daemon(name, self._inside(argv), env=env or self.env, log=log, pass_fds=pass_fds)

    def _inside(self, argv: Sequence[str]) -> list[str]:
        # Without --pid, nsenter becomes the program instead of waiting for it: the fork has already happened.
        return ["nsenter", "--target", str(self.pid), "--net", "--mount", "--", *argv]

    def ip(self, *commands: str) -> None:
        """Run these commands of ip(8) in here."""
        self.run("ip", "-batch", "-", stdin="\n".join(commands) + "\n")

    def open_tun(self, name: str) -> int:
        """A TUN device in here: reading the descriptor gives packets that leave by it. The caller owns it."""
        with self._entered("net", os.CLONE_NEWNET):
            descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
            except OSError:
                os.close(descriptor)
                raise
        return descriptor

    def connect(
        self, address: tuple[str, int], timeout: float = 5.0, source: tuple[str, int] | None = None
    ) -> socket.socket:
        """A TCP connection made from in here to a literal address, from `source` or any; the caller owns it."""
        with self._entered("net", os.CLONE_NEWNET):
            return socket.create_connection(address, timeout=timeout, source_address=source)

    def listen(self, address: tuple[str, int]) -> socket.socket:
        """A TCP listener in here; the caller owns it."""
        with self._entered("net", os.CLONE_NEWNET):
            return socket.create_server(address)

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
    def _entered(self, space: str, kind: int) -> Iterator[None]:
        """Move this thread, and no other, into one of the namespaces for a moment.

        A socket stays in the network where it was made, and a child among the processes where it was forked.
        """
        with _opened(f"/proc/thread-self/ns/{space}") as here, _opened(f"/proc/{self.pid}/ns/{space}") as there:
            os.setns(there, kind)
            try:
                yield
            finally:
                os.setns(here, kind)

    def close(self) -> None:
        """Let the first process end; this returns when the kernel has ended the last one."""
        for pipe in (self._holder.stdin, self._holder.stdout):
            if pipe is not None:
                pipe.close()
        self._holder.wait()


@contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
