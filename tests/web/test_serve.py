from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import replace

import pytest
from tests.web.fakes import SNAPSHOT, TOKEN, FakeRunning
from tests.web.http import ask

from towline.admin import answers
from towline.admin.http import MAX_CONNECTIONS
from towline.admin.serve import AdminServer
from towline.errors import AdminError
from towline.types import Secret


async def test_port_in_use_is_told(server: AdminServer, running: FakeRunning) -> None:
    """A second Towline names the address that is taken and what to do."""
    with pytest.raises(AdminError) as caught:
        AdminServer.bind(running, server.address)
    assert f"the admin address 127.0.0.1:{server.address[1]} is in use" in str(caught.value)
    assert "\nhint: " in str(caught.value)


async def test_foreign_address_is_told(running: FakeRunning) -> None:
    """An address that this machine does not have (TEST-NET-1, RFC 5737) is named with the system's reason."""
    with pytest.raises(AdminError, match=r"the admin address 192\.0\.2\.1:3129 cannot be used: "):
        AdminServer.bind(running, ("192.0.2.1", 3129))


async def test_who_asks_early_waits(running: FakeRunning) -> None:
    """A client that comes between `bind` and `serve` gets its answer; `stop` needs no `serve` before it."""
    server = AdminServer.bind(running, ("127.0.0.1", 0))
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{server.address[1]}\r\n\r\n".encode())
        await server.serve()
        assert (await reader.read()).endswith(b"\r\n\r\nok\n")
        writer.close()
        await server.stop()
    unused = AdminServer.bind(running, server.address)
    await unused.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*server.address)


async def test_stop_frees_the_port(running: FakeRunning) -> None:
    """After stop() nothing listens, and a connection that was left open is closed."""
    server = AdminServer.bind(running, ("127.0.0.1", 0))
    await server.serve()
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"GET /livez HTTP/1.1\r\n")  # a head that never ends
        await server.stop()
        with contextlib.suppress(ConnectionResetError):  # where what was sent had not been read yet
            assert await reader.read() == b""
        writer.close()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(server.address, timeout=5):
        pass


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
async def test_listens_on_ipv6(running: FakeRunning) -> None:
    """An IPv6 literal is bound as such."""
    server = AdminServer.bind(running, ("::1", 0))
    await server.serve()
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(f"GET /livez HTTP/1.1\r\nHost: [::1]:{server.address[1]}\r\n\r\n".encode())
        assert (await reader.read()).endswith(b"\r\n\r\nok\n")
        writer.close()
        await writer.wait_closed()
    await server.stop()


async def test_serves_beside_eager_tasks(running: FakeRunning) -> None:
    """mitmproxy gives its loop an eager task factory, and the admin side runs on that loop."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    server = AdminServer.bind(running, ("127.0.0.1", 0))
    await server.serve()
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(f"GET /readyz HTTP/1.1\r\nHost: localhost:{server.address[1]}\r\n\r\n".encode())
        assert (await reader.read()).endswith(b"\r\n\r\nready\n")
        writer.close()
        await writer.wait_closed()
    await server.stop()


async def test_token_is_obtained_once_the_address_is_ours(server: AdminServer, running: FakeRunning) -> None:
    """A second Towline on the port leaves the token file of the first alone."""
    obtained = []

    def obtain() -> Secret:
        obtained.append(1)
        return TOKEN

    with pytest.raises(AdminError, match="is in use"):
        AdminServer.bind(running, server.address, obtain_token=obtain)
    assert obtained == []


async def test_token_that_cannot_be_had_frees_the_port(running: FakeRunning) -> None:
    """The operator's file is wrong: nothing listens, and the reason is told."""

    def obtain() -> Secret:
        raise AdminError("open to other users")

    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    with pytest.raises(AdminError, match="open to other users"):
        AdminServer.bind(running, address, obtain_token=obtain)
    with pytest.raises(ConnectionRefusedError), socket.create_connection(address, timeout=5):
        pass


async def test_connections_are_bounded(server: AdminServer) -> None:
    """One more than fits is closed unheard; when one has gone there is room again."""
    async with asyncio.timeout(10), contextlib.AsyncExitStack() as stack:
        writers = []
        for _ in range(MAX_CONNECTIONS):
            _, writer = await asyncio.open_connection(*server.address)
            stack.callback(writer.close)
            writers.append(writer)
        reader, surplus = await asyncio.open_connection(*server.address)
        stack.callback(surplus.close)
        assert await reader.read() == b""
        writers[0].close()
        await writers[0].wait_closed()
        while True:  # until the server has seen it
            with contextlib.suppress(IndexError, ConnectionResetError):  # closed unheard
                assert (await ask(server, "/livez")).status == 200
                break


async def test_what_was_answered_takes_no_room(server: AdminServer) -> None:
    """Requests that are answered as they are read, as in Towline's loop, do not count as open until tornado forgets."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    request = f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{server.address[1]}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(server.address)) for _ in range(2 * MAX_CONNECTIONS)]
        for client in clients:
            client.sendall(request)
            client.setblocking(False)
        async with asyncio.timeout(10):
            for client in clients:
                answer = await asyncio.get_running_loop().sock_recv(client, 1000)
                assert answer.startswith(b"HTTP/1.1 200 ")


async def test_client_that_does_not_read_is_let_go(
    server: AdminServer, running: FakeRunning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer beyond what the kernel holds, and nobody takes it: the connection is closed, not kept."""
    monkeypatch.setattr(answers, "ANSWER_TIMEOUT", 0.2)
    running.shown = replace(SNAPSHOT, tunnels=SNAPSHOT.tunnels * 20_000)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(server.address)
        client.sendall(f"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1:{server.address[1]}\r\n\r\n".encode())
        assert server._server is not None
        open_ones = server._server._connections
        async with asyncio.timeout(5):
            while not open_ones:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.01)
            while open_ones:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_client_that_reads_slowly_gets_it_all(server: AdminServer, running: FakeRunning) -> None:
    """The bound is for those who stand still: a large answer arrives whole."""
    running.shown = replace(SNAPSHOT, tunnels=SNAPSHOT.tunnels * 20_000)
    answer = await ask(server, "/api/v1/status")
    assert len(answer.json["tunnels"]) == 40_000
