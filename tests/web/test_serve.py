from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from tests.web.fakes import FakeRunning

from towline.admin.serve import AdminServer
from towline.errors import AdminError


async def test_port_in_use_is_told(server: AdminServer, running: FakeRunning) -> None:
    """A second Towline names the address that is taken and what to do."""
    with pytest.raises(AdminError) as caught:
        AdminServer.start(running, server.address)
    assert f"the admin address 127.0.0.1:{server.address[1]} is in use" in str(caught.value)
    assert "\nhint: " in str(caught.value)


async def test_foreign_address_is_told(running: FakeRunning) -> None:
    """An address that this machine does not have (TEST-NET-1, RFC 5737) is named with the system's reason."""
    with pytest.raises(AdminError, match=r"the admin address 192\.0\.2\.1:3129 cannot be used: "):
        AdminServer.start(running, ("192.0.2.1", 3129))


async def test_stop_frees_the_port(running: FakeRunning) -> None:
    """After stop() nothing listens, and a connection that was left open is closed."""
    server = AdminServer.start(running, ("127.0.0.1", 0))
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
    server = AdminServer.start(running, ("::1", 0))
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
    server = AdminServer.start(running, ("127.0.0.1", 0))
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(f"GET /readyz HTTP/1.1\r\nHost: localhost:{server.address[1]}\r\n\r\n".encode())
        assert (await reader.read()).endswith(b"\r\n\r\nready\n")
        writer.close()
        await writer.wait_closed()
    await server.stop()
