"""Processes of the bench: a proxy and what it has cost, and the load that is put on it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from tests.bench.peers.contenders import LOAD, PATH, Contender

START = 20.0  # seconds within which a proxy has to listen


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Running:
    """A proxy that listens, or the straight way where there is none."""

    name: str
    port: int | None
    plain: bool = False
    process: psutil.Process | None = None
    ready: float = 0.0
    """Seconds from its start until it listened."""

    def cpu(self) -> float:
        """CPU-seconds that its processes have used."""
        return sum(one.cpu_times().user + one.cpu_times().system for one in self._processes())

    def rss(self) -> int:
        """Bytes of memory that they hold."""
        return sum(one.memory_info().rss for one in self._processes())

    def _processes(self) -> list[psutil.Process]:
        return [] if self.process is None else [self.process, *self.process.children(recursive=True)]

    def load(self, mode: str, target: int, **options: float) -> dict[str, Any]:
        """Put a load on it (load/main.go); what came of it. Raises CalledProcessError."""
        done = subprocess.run(self.argv(mode, target, options), check=True, capture_output=True, text=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    @contextlib.contextmanager
    def holding(self, tunnels: int, target: int) -> Iterator[None]:
        """So many tunnels are open and idle meanwhile."""
        argv = self.argv("hold", target, {"tunnels": tunnels})
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            if process.stdout.readline().strip() != str(tunnels):
                raise ChildProcessError(f"{self.name} does not hold {tunnels} tunnels")
            yield
            process.stdin.close()

    def argv(self, mode: str, target: int, options: dict[str, float]) -> list[str]:
        """How a load is put on it."""
        proxy = [] if self.port is None else [f"-proxy=127.0.0.1:{self.port}"]
        numbers = [f"-{name}={value}" for name, value in options.items()]
        return [LOAD, *proxy, f"-plain={self.plain}".lower(), f"-target=127.0.0.1:{target}", *numbers, mode]


@contextlib.contextmanager
def server() -> Iterator[int]:
    """The server that all tunnels lead to; its port."""
    port = free_port()
    with _process([LOAD, "serve", f"127.0.0.1:{port}"], port):
        yield port


@contextlib.contextmanager
def running(contender: Contender, target: int) -> Iterator[Running]:
    """A contender, from its start to its end."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o755)  # squid reads its file as a user of its own
        began = time.perf_counter()
        with _process(contender.argv(Path(folder), port, target), port) as process:
            ready = time.perf_counter() - began
            yield Running(contender.name, port, contender.plain, psutil.Process(process.pid), ready)


@contextlib.contextmanager
def _process(argv: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environ["PATH"] = PATH
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ) as process:
        try:
            _wait_for(port, process)
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.005)
    raise ChildProcessError(f"{process.args!r} does not listen")
