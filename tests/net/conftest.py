"""Fixtures that several files share: loops that mitmproxy's is like, nothing left behind, and running relays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.net.tunnel import Start, Tunnel, open_descriptors

from towline.net import trust
from towline.net.pipes import PipePool


@pytest.fixture(params=["usual tasks", "eager tasks"])
async def task_factory(request: pytest.FixtureRequest) -> None:
    """The test runs with both kinds of tasks: mitmproxy sets the eager factory."""
    if request.param == "eager tasks":
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)


@pytest.fixture
async def no_complaint() -> AsyncIterator[None]:
    """No callback or task of the test fails behind its back: the loop would only log it."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    yield
    assert complaints == []


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """The test ends with as many descriptors as it began with."""
    before = open_descriptors()
    yield
    assert open_descriptors() == before


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


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The authority that this machine trusts."""
    return trustme.CA()


@pytest.fixture
def system_roots(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The system's roots are what SSL_CERT_FILE names: the authority alone."""
    path = tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    trust._contexts.clear()
    yield path
    trust._contexts.clear()
