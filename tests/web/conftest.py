"""The admin side on a real loopback port."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.web.fakes import TOKEN, FakeRunning

from towline.admin.serve import AdminServer


@pytest.fixture
def running() -> FakeRunning:
    """What the server under test shows."""
    return FakeRunning()


@pytest.fixture
async def server(running: FakeRunning) -> AsyncIterator[AdminServer]:
    """An AdminServer on a free port, which is named `towline` too."""
    hosts = frozenset({"towline"})
    server = AdminServer.bind(running, ("127.0.0.1", 0), hosts=hosts, obtain_token=lambda: TOKEN)
    await server.serve()
    yield server
    await server.stop()
