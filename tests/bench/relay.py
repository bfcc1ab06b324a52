"""How fast the relay moves bytes, and what that costs: python -m tests.bench.relay

Each tunnel has a source and a sink process on loopback; the relay runs in this one. GB/s depends on how many cores the
three share and is noisy; CPU-seconds per GB are this process's own and are what to compare.

    --sizes 64,256,1024    also compares sizes in KiB: of a pipe when splicing, of a turn when copying
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from unittest.mock import patch

import trustme

from towline.net.carriers import COPY_BYTES
from towline.net.pipes import PIPE_BYTES, PipePool
from towline.net.relay import Relay, RelayLimits

LIMITS = RelayLimits(linger=5.0, half_closed=60.0)
BLOCK = 1 << 20  # bytes of one send or receive in the source and the sink
SOURCE, SINK = b"o", b"i"  # what a far end says first
PROCESSES = multiprocessing.get_context("fork")  # before any loop or thread exists


def source(port: int, size: int, tls: ssl.SSLContext | None) -> None:
    """Send `size` bytes and wait for the other side's FIN."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(SOURCE)
    if tls:
        sock = tls.wrap_socket(sock, server_side=True)
    block = memoryview(bytes(BLOCK))
    with sock:
        while size:
            size -= sock.send(block[: min(size, BLOCK)])
        socket.socket.shutdown(sock, socket.SHUT_WR)
        with suppress(ssl.SSLError):  # a FIN without close_notify earns an alert
            sock.recv(1)


def sink(port: int, size: int) -> None:
    """Receive until FIN, which has to come after `size` bytes."""
    block = bytearray(BLOCK)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(SINK)
        while received := sock.recv_into(block):
            size -= received
    sys.exit(size != 0)


def accept(listener: socket.socket, tls: ssl.SSLContext | None) -> tuple[bytes, socket.socket]:
    """The next far end: which it is, and the relay's end of its connection."""
    sock, _ = listener.accept()
    role = sock.recv(1)
    if tls and role == SOURCE:
        sock = tls.wrap_socket(sock, server_hostname="source.test")
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return role, sock


@contextmanager
def far_ends(tunnels: int, size: int, *, tls: bool) -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Start sources and sinks; (client, upstream) per tunnel. Afterwards every sink must have received everything."""
    near_tls, far_tls = tls_contexts() if tls else (None, None)
    with socket.create_server(("127.0.0.1", 0), backlog=2 * tunnels) as listener:
        port = listener.getsockname()[1]
        processes = [PROCESSES.Process(target=source, args=(port, size, far_tls), daemon=True) for _ in range(tunnels)]
        processes += [PROCESSES.Process(target=sink, args=(port, size), daemon=True) for _ in range(tunnels)]
        for process in processes:
            process.start()
        accepted = [accept(listener, near_tls) for _ in processes]
    clients = [sock for role, sock in accepted if role == SINK]
    upstreams = [sock for role, sock in accepted if role == SOURCE]
    yield list(zip(clients, upstreams, strict=True))
    for process in processes:
        process.join(timeout=30)
        if process.exitcode:
            sys.exit("a sink did not receive what its source sent")


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For the relay's end and for the source's."""
    ca = trustme.CA()
    near, far = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.configure_trust(near)
    ca.issue_cert("source.test").configure_cert(far)
    return near, far


def measure(name: str, tunnels: int, gigabytes: float, *, splice: bool = False, tls: bool = False) -> None:
    """Relay `gigabytes` over `tunnels` at once and print a row."""

    async def relay(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
        pipes = PipePool() if splice else None
        relays = [Relay(client, upstream, limits=LIMITS, pipes=pipes) for client, upstream in pairs]
        await asyncio.gather(*(relay.run() for relay in relays))
        if pipes:
            pipes.close()

    with far_ends(tunnels, int(gigabytes * 1e9 / tunnels), tls=tls) as pairs:
        wall, cpu = time.perf_counter(), time.process_time()
        asyncio.run(relay(pairs))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name:<22} {tunnels:>7} {gigabytes / wall:>8.2f} {cpu / gigabytes:>15.3f}", flush=True)


def main() -> None:
    """Measure each way with 1 and 4 tunnels, then each size."""
    arguments = argparse.ArgumentParser(description="Measure the relay on loopback.")
    arguments.add_argument("--gigabytes", type=float, default=3.0, help="bytes of one measurement, in 1e9")
    arguments.add_argument("--sizes", default="", help="pipe and turn sizes to compare, in KiB: 64,256,1024")
    options = arguments.parse_args()
    print(f"{'way':<22} {'tunnels':>7} {'GB/s':>8} {'CPU-s per GB':>15}")
    for tunnels in (1, 4):
        measure(f"splice, {PIPE_BYTES >> 10} KiB", tunnels, options.gigabytes, splice=True)
        measure(f"copy, {COPY_BYTES >> 10} KiB", tunnels, options.gigabytes)
        measure("copy from TLS", tunnels, options.gigabytes / 3, tls=True)
        for size in (int(text) << 10 for text in options.sizes.split(",") if text):
            with patch("towline.net.pipes.PIPE_BYTES", size):
                measure(f"splice, {size >> 10} KiB", tunnels, options.gigabytes, splice=True)
            with patch("towline.net.carriers.COPY_BYTES", size):
                measure(f"copy, {size >> 10} KiB", tunnels, options.gigabytes)


if __name__ == "__main__":
    main()
