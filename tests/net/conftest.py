"""Fixtures of the relay's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.net.tunnel import Start, Tunnel, open_descriptors

from towline.net.pipes import PipePool


@pytest.fixture(params=["splice", "copy"])
def pipes(request: pytest.FixtureRequest) -> Iterator[PipePool | None]:
    """The pool of relays that splice, None for those that copy; in the end nothing is lent and nothing left open."""
    before = open_descriptors()
    pool = PipePool() if request.param == "splice" else None
    yield pool
    if pool:
        assert pool._lent == 0
        pool.close()
    assert open_descriptors() == before


@pytest.fixture
async def start(pipes: PipePool | None) -> AsyncIterator[Start]:
    """Starts tunnels; they are closed after the test."""
    tunnels: list[Tunnel] = []

    def start(**options: Any) -> Tunnel:
        tunnels.append(Tunnel.start(pipes, **options))
        return tunnels[-1]

    yield start
    for tunnel in tunnels:
        await tunnel.close()


@pytest.fixture
async def tunnel(start: Start) -> Tunnel:
    """One running tunnel without options."""
    return start()
