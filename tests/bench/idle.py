"""What idle tunnels cost: python -m tests.bench.idle

Starts a Towline, opens tunnels to a server on loopback that answers each with a few bytes, and leaves them alone. CPU
is the process's own, from /proc; the seconds in which tunnels are opened do not count.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

TUNNELS = 1000
SECONDS = 20.0  # of one stretch; there are two
TICKS = os.sysconf("SC_CLK_TCK")


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A few bytes for a few, until the end."""
    with contextlib.suppress(OSError):
        while await reader.read(1000):
            writer.write(b"here you are")
    writer.close()


async def tunnel(proxy: int, target: int) -> asyncio.StreamWriter:
    """A tunnel over which something was asked and answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy)
    writer.write(f"CONNECT localhost:{target} HTTP/1.1\r\nHost: localhost:{target}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.write(bytes(200))
    await reader.readexactly(12)
    return writer


def free_port() -> int:
    """A port that nothing listens at just now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> float:
    """User and system time so far (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def measure(pid: int, proxy: int, target: int) -> None:
    """Open the tunnels, and print a row for each stretch of time."""
    server = await asyncio.start_server(answer, "127.0.0.1", target)
    await wait_for(proxy)
    writers = [await tunnel(proxy, target) for _ in range(TUNNELS)]
    print(f"{'idle for':>10} {'tunnels':>8} {'CPU':>8}")
    for _ in range(2):
        before, began = cpu_seconds(pid), time.monotonic()
        await asyncio.sleep(SECONDS)
        used = (cpu_seconds(pid) - before) / (time.monotonic() - began)
        print(f"{SECONDS:>8g} s {TUNNELS:>8} {used:>8.2%}", flush=True)
    for writer in writers:
        writer.close()
    server.close()


async def wait_for(port: int) -> None:
    """Until something listens there."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.1)


def main() -> None:
    """Measure two stretches; in the first, the watch asks once whether the server is alive."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    proxy, admin, target = free_port(), free_port(), free_port()
    settings = {
        "listen": [f"127.0.0.1:{proxy}"],
        "admin": f"127.0.0.1:{admin}",
        "routes": {"direct": {}},
        "policy": {"private_targets": ["localhost"], "ports": [target]},
        "limits": {"tunnels": TUNNELS, "tunnels_per_client": TUNNELS},
        "log": {"level": "warning"},
    }
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "towline.yaml"
        config.write_text(yaml.safe_dump(settings))
        argv = [sys.executable, "-m", "towline", "run", "--config", str(config)]
        with subprocess.Popen(argv) as towline:
            try:
                asyncio.run(measure(towline.pid, proxy, target))
            finally:
                towline.terminate()
                towline.wait(timeout=60)


if __name__ == "__main__":
    main()
