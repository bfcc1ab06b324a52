"""The lean Master around a scripted service: what a start waits for."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from tests.addon.embedded import DEADLINE, Listener, ScriptedService, Serve

from towline.proxy.master import LeanMaster
from towline.service import Service


@pytest.fixture
def supervisor() -> Listener:
    """Who started it."""
    return Listener()


@pytest.fixture
async def master(supervisor: Listener) -> LeanMaster:
    """One that does not listen yet."""
    service = cast("Service", ScriptedService(cast("Serve", None)))
    return LeanMaster(service, [("127.0.0.1", 0)], supervisor, passed={})


async def test_what_fails_once_listening_ends_the_start(master: LeanMaster) -> None:
    """An admin side that cannot be imported ends Towline with its error; nobody waits for its answers in vain."""

    async def broken() -> None:
        raise ImportError("tornado")

    master.once_listening(broken)
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(ImportError, match="tornado"):
            await master.run()
    await master.addons.get("proxyserver").update([])


async def test_stopped_before_it_is_ready(master: LeanMaster, supervisor: Listener) -> None:
    """A stop while the admin side is imported: the supervisor hears of no readiness after it."""

    async def stopped() -> None:
        master.stop()
        await master.should_exit.wait()

    master.once_listening(stopped)
    async with asyncio.timeout(DEADLINE):
        await master.run()
    assert supervisor.told == ["stopping within 2 s"]
