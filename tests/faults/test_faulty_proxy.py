"""The faulty proxy misbehaves as it is told, and serves well when it is told nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.e2e.rig.process import Daemon, environment
from tests.faults.faulty_proxy import BLOCK_PAGE, ESTABLISHED, GARBAGE, HANDSHAKE_FAILURE, TRICKLE
from tests.faults.ground import LOOPBACK, free_ports
from tests.faults.proxy import FaultyProxy

CARGO = bytes(range(256)) * 400  # what the server sends to everybody
AFTER = 5_000
SILENCE = 0.3  # seconds without a byte that are taken for silence
FIN, RST, SILENT = "fin", "rst", "silent"


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[FaultyProxy]:
    """A faulty proxy on loopback."""
    with ExitStack() as owned:

        def launch(name: str, *argv: str) -> Daemon:
            daemon = Daemon(name, argv, env=environment(tmp_path), log=tmp_path / f"{name}.log")
            return owned.enter_context(daemon)

        made = FaultyProxy(launch, "proxy", (LOOPBACK, free_ports(1)[0]), tmp_path, host=LOOPBACK)
        yield owned.enter_context(closing(made))


@pytest.fixture
async def server() -> AsyncIterator[int]:
    """The port of a server that sends CARGO when it has heard something."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(CARGO)
        writer.close()

    async with await asyncio.start_server(serve, LOOPBACK, 0) as listener:
        yield listener.sockets[0].getsockname()[1]


async def heard(proxy: FaultyProxy, port: int) -> tuple[bytes, str]:
    """What a client hears that asks for a tunnel and says hello in it, and how that ends."""
    reader, writer = await asyncio.open_connection(*proxy.address)
    with closing(writer):
        writer.write(f"CONNECT pattern.corp.test:{port} HTTP/1.1\r\n\r\n".encode())
        received = b""
        try:
            while data := await asyncio.wait_for(reader.read(1 << 20), SILENCE):
                received += data
                if received == ESTABLISHED:
                    writer.write(b"hello")
        except TimeoutError:
            return received, SILENT
        except ConnectionResetError:
            return received, RST
        return received, FIN


async def test_it_serves_well_when_told_nothing(proxy: FaultyProxy, server: int) -> None:
    """Every byte comes through, to the FIN, and nothing counts as a fault."""
    assert await heard(proxy, server) == (ESTABLISHED + CARGO, FIN)
    assert proxy.order().hits == 0


@pytest.mark.parametrize(
    ("fault", "said", "end"),
    [
        ("silent", b"", SILENT),
        ("close", b"", FIN),
        ("407", b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", FIN),
        ("502", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", FIN),
        ("garbage", GARBAGE, FIN),
        ("drip", ESTABLISHED[:1], SILENT),
        ("200-silent", ESTABLISHED, SILENT),
        ("200-close", ESTABLISHED, FIN),
        ("200-reset", ESTABLISHED, RST),
        ("200-page", ESTABLISHED + BLOCK_PAGE, FIN),
        ("200-alert", ESTABLISHED + HANDSHAKE_FAILURE, FIN),
        ("fin", (ESTABLISHED + CARGO)[:AFTER], FIN),
        ("stall", (ESTABLISHED + CARGO)[:AFTER], SILENT),
    ],
)
async def test_it_misbehaves(fault: str, said: bytes, end: str, proxy: FaultyProxy, server: int) -> None:
    """It says so much, ends so, and counts it; healed, it serves well again."""
    proxy.order(fault=fault, after=AFTER)
    assert await heard(proxy, server) == (said, end)
    assert proxy.order().hits == 1
    proxy.heal()
    assert await heard(proxy, server) == (ESTABLISHED + CARGO, FIN)


async def test_it_resets(proxy: FaultyProxy, server: int) -> None:
    """RST comes after no more than so many bytes; what was on its way is lost, as RST has it."""
    proxy.order(fault="reset", after=AFTER)
    received, end = await heard(proxy, server)
    assert (ESTABLISHED + CARGO).startswith(received)
    assert len(received) <= AFTER
    assert end == RST


async def test_it_trickles(proxy: FaultyProxy, server: int) -> None:
    """Bytes go on coming, a few at a time, and are the right ones."""
    proxy.order(fault="trickle", after=AFTER)
    reader, writer = await asyncio.open_connection(*proxy.address)
    with closing(writer):
        writer.write(f"CONNECT pattern.corp.test:{server} HTTP/1.1\r\n\r\nhello".encode())
        expected = (ESTABLISHED + CARGO)[: AFTER + TRICKLE]
        began = asyncio.get_running_loop().time()
        assert await reader.readexactly(len(expected)) == expected
        assert asyncio.get_running_loop().time() - began >= 0.5


async def test_it_refuses(proxy: FaultyProxy, server: int) -> None:
    """Nothing listens; healed, it listens again."""
    proxy.order(fault="refuse")
    with pytest.raises(ConnectionRefusedError):
        await heard(proxy, server)
    proxy.heal()
    assert await heard(proxy, server) == (ESTABLISHED + CARGO, FIN)
