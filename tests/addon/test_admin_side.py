"""The admin side is not to be had through the proxy, by whatever name of this machine, by whichever kind of request."""

from __future__ import annotations

import asyncio
import socket

import psutil
import pytest
from structlog.testing import capture_logs
from tests.addon.embedded import DEADLINE
from tests.addon.whole import StartProxy, free_port
from tests.web.fakes import TOKEN

from towline.admin.serve import AdminServer


def local_addresses() -> list[str]:
    """Every IPv4 and IPv6 address of this machine."""
    kinds = (socket.AF_INET, socket.AF_INET6)
    found = [entry.address for entries in psutil.net_if_addrs().values() for entry in entries if entry.family in kinds]
    return [f"[{address.partition('%')[0]}]" if ":" in address else address for address in found]


IPV4 = (
    "127.0.0.1",
    "127.0.0.2",
    "127.1",
    "127.0.0.1.",
    "0x7f.1",
    "0x7f000001",
    "0177.0.0.1",
    "2130706433",
    "0",
    "0.0.0.0",
)
ZERO = ("0", "0.0.0.0", "[::]")
IPV6 = ("[::1]", "[0:0:0:0:0:0:0:1]")
IPV4_INSIDE = ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]")
NAMES = ("localhost", "LOCALHOST", "localhost.", "admin.localhost", "localhost.localdomain", "ip6-localhost")


@pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0"])
async def test_not_through_the_proxy(start: StartProxy, listen: str) -> None:
    """No spelling of this machine with the admin port is tunnelled or fetched, though loopback is opened."""
    port, admin = free_port(), free_port()
    proxy = await start(
        f"listen: ['127.0.0.1:{port}']\nadmin: '{listen}:{admin}'\nroutes: {{direct: {{}}}}\n"
        "policy: {unlisted: route, private_targets: [127.0.0.0/8, '::1', localhost, localhost.localdomain]}\n",
        port,
    )
    server = AdminServer.bind(proxy.service, (listen, admin), obtain_token=lambda: TOKEN)
    await server.serve()
    hosts = [*IPV4, *ZERO, *IPV6, *IPV4_INSIDE, *NAMES, *local_addresses(), socket.gethostname()]
    with capture_logs() as logs:
        for host in hosts:
            for request in (
                f"CONNECT {host}:{admin} HTTP/1.1\r\nHost: {host}:{admin}\r\n\r\n",
                f"GET http://{host}:{admin}/livez HTTP/1.1\r\nHost: {host}:{admin}\r\n\r\n",
                f"GET http://{host}:{admin}/livez HTTP/1.1\r\nHost: 127.0.0.1:{admin}\r\n\r\n",
            ):
                reader, writer = await proxy.connect()
                writer.write(request.encode())
                async with asyncio.timeout(DEADLINE):
                    status = (await reader.readline()).split()[1]
                    assert b"ok\n" not in await reader.read(), request
                writer.close()
                assert status in {b"400", b"403"}, request
    await server.stop()
    assert [entry for entry in logs if entry["event"] == "admin_request"] == []
    refused = {entry["code"] for entry in logs if entry["event"] == "refused"}
    assert "loop" in refused, "the guard knows its own listeners, whatever policy.ports has"
