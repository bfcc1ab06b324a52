"""What Towline takes for granted inside mitmproxy and asyncio: a version that breaks it fails here first."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from mitmproxy import addons
from mitmproxy.connection import Client
from mitmproxy.hooks import all_hooks
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler, RegularInstance, ServerInstance, ServerManager
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.proxy.server import ConnectionHandler, TimeoutWatchdog
from tests.addon.embedded import DEADLINE, Embed

from towline.core.head import Request
from towline.errors import Refused
from towline.proxy import leave_out_default_addons
from towline.proxy.handoff import HeldClient
from towline.proxy.layer import RequestLayer, TowlineRequestHook
from towline.proxy.mode import BACKLOG, TowlineInstance, TowlineMode, mode_for

SOMAXCONN = int(Path("/proc/sys/net/core/somaxconn").read_text()) if sys.platform == "linux" else 0

CONNECT = b"CONNECT registry.example:443 HTTP/1.1\r\nHost: registry.example:443\r\n\r\n"


async def _waiting(reader: asyncio.StreamReader) -> None:
    """Let a task run until it waits in read()."""
    for _ in range(10):
        if reader._waiter is not None:  # type: ignore[attr-defined]
            return
        await asyncio.sleep(0)


async def test_stream_reader_waiter_is_set_only_while_read_waits() -> None:
    """StreamReader._waiter is None until read() blocks on an empty buffer, and None again once data came."""
    reader = asyncio.StreamReader()
    assert reader._waiter is None  # type: ignore[attr-defined]
    reading = asyncio.get_running_loop().create_task(reader.read(10))
    await _waiting(reader)
    assert reader._waiter is not None  # type: ignore[attr-defined]
    reader.feed_data(b"x")
    assert await reading == b"x"
    assert reader._waiter is None


def test_hook_has_its_name_and_does_not_block() -> None:
    """The hook is registered under the name of the addon's method, and mitmproxy's layers go on while it runs."""
    assert all_hooks["towline_request"] is TowlineRequestHook
    assert TowlineRequestHook.blocking is False
    assert issubclass(TowlineRequestHook, commands.StartHook)


def test_mode_registers_itself() -> None:
    """mitmproxy finds our mode by its spec, and our instance for it, without being patched."""
    mode = ProxyMode.parse(mode_for(("::1", 3128), descriptor=3).full_spec)
    assert isinstance(mode, TowlineMode)
    assert (mode.address, mode.data) == (("::1", 3128), "3")
    assert isinstance(ServerInstance.make(mode, cast("ServerManager", None)), TowlineInstance)


def test_regular_mode_asks_for_the_layer_below_http_proxy() -> None:
    """Under mitmdump the layer to be replaced is asked for right below modes.HttpProxy."""
    instance: RegularInstance = RegularInstance.make("regular", cast("ServerManager", None))
    client = Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2))
    assert isinstance(instance.make_top_layer(Context(client, Options())), modes.HttpProxy)


@pytest.mark.parametrize("embed", ["mitmdump"], indirect=True)
async def test_connection_parts_are_where_the_hand_off_looks(embed: Embed) -> None:
    """connections[id].transports[client] holds a StreamReader and a StreamWriter over a real socket transport."""
    seen: dict[str, object] = {}

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        seen["reader"] = client._reader
        seen["transport"] = client._transport
        client.close()

    proxy = await embed(serve)
    reader, writer = await proxy.connect()
    writer.write(CONNECT)
    async with asyncio.timeout(DEADLINE):
        assert await reader.read() == b""
    assert isinstance(seen["reader"], asyncio.StreamReader)
    assert isinstance(seen["transport"], asyncio.Transport)
    writer.close()
    await proxy.idle()


def test_handler_keeps_reading_task_and_watchdog_api() -> None:
    """The handler has the attributes that hand-off and addon rely on."""
    assert ConnectionHandler.__annotations__["transports"]
    assert hasattr(TimeoutWatchdog, "disarm")
    assert "disarm" in ProxyConnectionHandler.handle_hook.__code__.co_names


def test_commands_are_what_our_driver_knows() -> None:
    """What connection.py does for a command is what its name says, and a wake-up brings its command back."""
    wakeup = commands.RequestWakeup(1.5)
    assert wakeup.delay == 1.5
    assert events.Wakeup(wakeup).command is wakeup
    assert issubclass(TowlineRequestHook, commands.Command)
    assert issubclass(commands.CloseTcpConnection, commands.CloseConnection)


async def test_update_of_listeners_keeps_what_stays(embed: Embed) -> None:
    """Servers.update() leaves a listener alone whose mode stays, and a failed one has its exception."""

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        client.close()

    proxy = await embed(serve)
    servers = proxy.master.addons.get("proxyserver").servers
    (instance,) = servers
    listening = instance._servers[0]
    taken = mode_for(("127.0.0.1", proxy.port))
    await servers.update([instance.mode, taken])
    first, second = servers
    assert (first, first._servers[0], first.is_running, first.last_exception) == (instance, listening, True, None)
    assert isinstance(second.last_exception, OSError)
    await servers.update([instance.mode])
    assert list(servers) == [instance]


async def test_handler_has_its_top_layer(embed: Embed) -> None:
    """What is listed among mitmproxy's connections has its layer: a drain asks it whether a request has come."""

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        client.close()

    proxy = await embed(serve)
    reader, writer = await proxy.connect()
    connections = proxy.master.addons.get("proxyserver").connections
    async with asyncio.timeout(DEADLINE):
        while not connections:  # noqa: ASYNC110 - mitmproxy has no event for it
            await asyncio.sleep(0.005)
    (layer,) = [handler.layer for handler in connections.values()]
    assert isinstance(layer, RequestLayer)
    assert not layer.asked
    writer.write(CONNECT)
    async with asyncio.timeout(DEADLINE):
        await reader.read()
    assert layer.asked
    writer.close()
    await proxy.idle()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the backlog from Linux's struct tcp_info")
async def test_backlog_reaches_the_kernel(embed: Embed) -> None:
    """The listener's backlog is ours, not asyncio's default of 100."""

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        client.close()

    proxy = await embed(serve)
    instance = next(iter(proxy.master.addons.get("proxyserver").servers))
    listening = instance._servers[0].sockets[0]
    # struct tcp_info of a listener: tcpi_sacked (offset 28) is the configured backlog (Linux net/ipv4/tcp.c)
    copy = socket.socket(fileno=os.dup(listening.fileno()))
    with copy:
        info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    assert int.from_bytes(info[28:32], "little") == min(BACKLOG, SOMAXCONN)


LOADED = """
import sys
from towline.proxy import leave_out_default_addons
leave_out_default_addons()
import towline.cli.compose
from mitmproxy.addons import proxyserver
names = "flask", "ldap3", "mitmproxy.addons.script", "mitmproxy.addons.proxyserver"
print(*(name for name in names if name in sys.modules))
"""


def test_default_addons_are_left_out() -> None:
    """What `towline run` loads has none of the addons that it does not name, and nothing of what they need."""
    found = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["mitmproxy.addons.proxyserver"]


def test_default_addons_stay_where_they_are_loaded() -> None:
    """Under mitmdump, which has them all, nothing changes."""
    leave_out_default_addons()
    assert addons.default_addons()
