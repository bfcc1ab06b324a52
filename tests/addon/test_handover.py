"""The command under a service manager: sockets that outlive a restart, and news of how it fares."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.addon.embedded import DEADLINE

CONNECTS = 1000
PACE = 0.002  # seconds between two of them: a process starts in one to two seconds, so that hundreds find none
RESTART_AFTER = 250
HELD_UP = 0.3  # seconds: a client that took so long was waiting in the backlog
WHOLE = 50.0  # seconds that the whole may take on a busy machine; 5 are usual

# What a service manager does between fork and exec (sd_listen_fds(3)).
PASS_ON = """
import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "towline", *sys.argv[2:]])
"""


@pytest.fixture
async def upstream() -> AsyncIterator[int]:
    """The port of a server that gives back the line it is sent."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await reader.read()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=CONNECTS)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def start(held: socket.socket, config: Path, **environ: str) -> Process:
    """`towline run` on the held socket, with this in its environment beside what the test has."""
    descriptor = held.fileno()
    argv = ("-c", PASS_ON, str(descriptor), "run", "-c", str(config))
    with config.with_suffix(".log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, *argv, env=os.environ | environ, pass_fds=(descriptor,), stderr=log
        )


async def ask(port: int, upstream: int) -> float:
    """One client: it connects, gets its tunnel, and its line back through it; the seconds that it took."""
    began = asyncio.get_running_loop().time()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    target = f"127.0.0.1:{upstream}"
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    writer.write(b"ahoy\n")
    assert await reader.readline() == b"ahoy\n"
    writer.close()
    await writer.wait_closed()
    return asyncio.get_running_loop().time() - began


@pytest.mark.timeout(WHOLE + DEADLINE)
async def test_no_connection_is_refused_during_a_restart(tmp_path: Path, upstream: int) -> None:
    """Of a thousand connects before, during and after a restart, every one gets its tunnel and its bytes."""
    config = tmp_path / "towline.yaml"
    with socket.create_server(("127.0.0.1", 0), backlog=CONNECTS) as held:
        port = held.getsockname()[1]
        config.write_text(
            f"listen: ['127.0.0.1:{port}']\nadmin: null\nroutes: {{direct: {{}}}}\n"
            f"policy: {{ports: [{upstream}], private_targets: [127.0.0.1]}}\nlog: {{level: warning}}\n"
        )
        first = await start(held, config)
        second: Process | None = None
        asked = []

        async def restart() -> None:
            nonlocal second
            first.send_signal(signal.SIGTERM)
            assert await first.wait() == 0
            second = await start(held, config)

        try:
            async with asyncio.timeout(WHOLE), asyncio.TaskGroup() as clients:
                await ask(port, upstream)
                for number in range(CONNECTS):
                    if number == RESTART_AFTER:
                        clients.create_task(restart())
                    asked.append(clients.create_task(ask(port, upstream)))
                    await asyncio.sleep(PACE)
        finally:
            for process in filter(None, (first, second)):
                if process.returncode is None:
                    process.send_signal(signal.SIGTERM)
                    await process.wait()
    assert sum(client.result() > HELD_UP for client in asked) > CONNECTS / 4, "many came while nobody accepted"
    assert second
    assert second.returncode == 0
    assert config.with_suffix(".log").read_text() == "", "no warning, no error"


async def test_service_manager_is_told(tmp_path: Path) -> None:
    """READY=1 when it listens, RELOADING=1 and READY=1 again at a reload, good or bad, STOPPING=1 at SIGTERM."""
    loop = asyncio.get_running_loop()
    config = tmp_path / "towline.yaml"
    with (
        socket.create_server(("127.0.0.1", 0)) as held,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        config.write_text(f"listen: ['127.0.0.1:{held.getsockname()[1]}']\nadmin: null\n")
        process = await start(held, config, NOTIFY_SOCKET=str(tmp_path / "notify"))

        async def told() -> str:
            return (await loop.sock_recv(manager, 4096)).decode().partition("\n")[0]

        try:
            async with asyncio.timeout(WHOLE):
                assert await told() == "READY=1"
                for text in (config.read_text(), "listn: []"):
                    config.write_text(text)
                    process.send_signal(signal.SIGHUP)
                    assert [await told(), await told()] == ["RELOADING=1", "READY=1"]
                process.send_signal(signal.SIGTERM)
                assert await told() == "STOPPING=1"
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert '"event": "not_reloaded"' in config.with_suffix(".log").read_text()
