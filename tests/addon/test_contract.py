"""What Towline takes for granted inside mitmproxy and asyncio: a version that breaks it fails here first."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from mitmproxy import addons
from mitmproxy.connection import Client
from mitmproxy.hooks import all_hooks
from mitmproxy.options import Options
from mitmproxy.proxy import commands, layer, layers
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler, RegularInstance, ServerManager
from mitmproxy.proxy.server import ConnectionHandler, TimeoutWatchdog
from tests.addon.embedded import DEADLINE, Embed

from towline.core.head import Request
from towline.errors import Refused
from towline.proxy import leave_out_what_mitmdump_needs
from towline.proxy.connection import Connection
from towline.proxy.handoff import HeldClient
from towline.proxy.layer import TowlineRequestHook
from towline.proxy.listeners import Listeners

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


async def test_master_opens_our_listeners(embed: Embed) -> None:
    """Master.run has the addon of the name `proxyserver` open the listeners, before it says that it runs."""

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        client.close()

    proxy = await embed(serve)
    assert isinstance(proxy.master.addons.get("proxyserver"), Listeners)
    _, writer = await proxy.connect()
    writer.close()


async def test_connections_are_listed_until_they_are_closed(embed: Embed) -> None:
    """A drain asks each of them whether its request has come."""

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        client.close()

    proxy = await embed(serve)
    reader, writer = await proxy.connect()
    connections = proxy.master.addons.get("proxyserver").connections
    async with asyncio.timeout(DEADLINE):
        while not connections:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.005)
    (connection,) = connections
    assert isinstance(connection, Connection)
    assert not connection.asked
    writer.write(CONNECT)
    async with asyncio.timeout(DEADLINE):
        await reader.read()
    assert connection.asked
    writer.close()
    await proxy.idle()


def test_what_is_left_out_stays_where_it_is_loaded() -> None:
    """Under mitmdump, which has all of mitmproxy's addons and protocols, nothing changes."""
    leave_out_what_mitmdump_needs()
    assert addons.default_addons()
    assert issubclass(layers.HttpLayer, layer.Layer)
