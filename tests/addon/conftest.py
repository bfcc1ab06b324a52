"""The fixture that starts mitmproxy around a scripted service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

import pytest
from tests.addon.embedded import DEADLINE, Embed, Embedded, Listener, ScriptedService, Serve

from towline.proxy.master import LeanMaster
from towline.service import Service


@pytest.fixture
async def embed() -> AsyncIterator[Embed]:
    """Start a LeanMaster around a `serve` function; ended with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(serve: Serve) -> Embedded:
            service = ScriptedService(serve)
            master = LeanMaster(cast("Service", service), [("127.0.0.1", 0)], Listener(), passed={})
            running = asyncio.get_running_loop().create_task(master.run())

            async def stop() -> None:
                await master.addons.get("proxyserver").servers.update([])
                master.shutdown()
                await running

            stack.push_async_callback(stop)
            async with asyncio.timeout(DEADLINE):
                await service.is_started.wait()
            return Embedded(master, master.addons.get("proxyserver").listen_addrs()[0][1], service)

        yield start
