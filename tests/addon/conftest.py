"""The fixture that starts mitmproxy around a scripted service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

import pytest
from mitmproxy.addons import core, next_layer, proxyserver
from mitmproxy.master import Master
from mitmproxy.options import Options
from tests.addon.embedded import DEADLINE, Embed, Embedded, Listener, ScriptedService, Serve
from tests.addon.whole import Proxy, StartProxy, Upstream

from towline.proxy.addon import TowlineAddon
from towline.proxy.listeners import Listeners
from towline.proxy.master import LeanMaster
from towline.service import Service
from towline.types import Address


@pytest.fixture
async def embed(request: pytest.FixtureRequest) -> AsyncIterator[Embed]:
    """Start a LeanMaster around a `serve` function, or with the parameter `mitmdump` its addon; ended with the test."""
    master_of = stock_master if getattr(request, "param", "") == "mitmdump" else lean_master
    async with contextlib.AsyncExitStack() as stack:

        async def start(serve: Serve) -> Embedded:
            service = ScriptedService(serve)
            master = master_of(cast("Service", service))
            running = asyncio.get_running_loop().create_task(master.run())

            async def stop() -> None:
                proxyserver = master.addons.get("proxyserver")
                await (proxyserver if isinstance(proxyserver, Listeners) else proxyserver.servers).update([])
                master.shutdown()
                await running

            stack.push_async_callback(stop)
            async with asyncio.timeout(DEADLINE):
                await service.is_started.wait()
            return Embedded(master, master.addons.get("proxyserver").listen_addrs()[0][1], service)

        yield start


def lean_master(service: Service) -> Master:
    """What `towline run` runs."""
    return LeanMaster(service, [("127.0.0.1", 0)], Listener(), passed={})


def stock_master(service: Service) -> Master:
    """What of `mitmdump -s addons/towline_addon.py` a connection meets."""
    master = Master(Options(mode=["regular@127.0.0.1:0"]))
    master.addons.add(core.Core(), proxyserver.Proxyserver(), TowlineAddon(service), next_layer.NextLayer())
    return master


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """What every tunnel leads to."""
    echo = Upstream()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    async with server:
        yield echo


@pytest.fixture
async def start() -> AsyncIterator[StartProxy]:
    """Start a proxy with this configuration; ended with the test."""
    proxies: list[Proxy] = []

    async def started(text: str, port: int, passed: dict[Address, int] | None = None) -> Proxy:
        proxies.append(Proxy(text, passed or {}, port))
        await proxies[-1].start()
        return proxies[-1]

    yield started
    for proxy in proxies:
        await proxy.end()
