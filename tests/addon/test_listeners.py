"""The listeners of `towline run`: what stays, what fails, and how many may wait."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from towline.proxy.addon import TowlineAddon
from towline.proxy.listeners import BACKLOG, Listeners
from towline.types import Address

SOMAXCONN = int(Path("/proc/sys/net/core/somaxconn").read_text()) if sys.platform == "linux" else 0
ANY: Address = ("127.0.0.1", 0)


@pytest.fixture
async def listeners() -> AsyncIterator[Listeners]:
    """On one address; nothing connects to it."""
    made = Listeners(cast("TowlineAddon", None), [ANY], {})
    await made.setup_servers()
    yield made
    await made.update([])


async def test_listener_that_stays_is_not_touched(listeners: Listeners) -> None:
    """An update closes what goes, opens what comes, and lets the rest be."""
    (first,) = listeners.listen_addrs()
    await listeners.update([ANY, ("::1", 0)])
    kept, other = listeners.listen_addrs()
    assert kept == first
    assert other[0] == "::1"
    await listeners.update([ANY])
    assert listeners.listen_addrs() == [first]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*other)


async def test_failed_listener_is_told_and_tried_again(listeners: Listeners) -> None:
    """What cannot be listened on is in `failed` with the error, beside those that are open, until it can be."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address: Address = taken.getsockname()
        await listeners.update([ANY, address])
        assert listeners.failed[address].errno == errno.EADDRINUSE
        assert listeners.wanted == [ANY, address]
        assert len(listeners.listen_addrs()) == 1
    await listeners.update([ANY, address])
    assert not listeners.failed
    assert address in listeners.listen_addrs()


async def test_port_is_free_for_what_comes(listeners: Listeners) -> None:
    """The listener that goes is closed before its successor opens."""
    port = listeners.listen_addrs()[0][1]
    await listeners.update([("127.0.0.1", port)])
    await listeners.update([("0.0.0.0", port)])
    assert not listeners.failed
    assert listeners.listen_addrs() == [("0.0.0.0", port)]


async def test_one_update_at_a_time(listeners: Listeners) -> None:
    """A reload that comes while listeners open finds them open; a stop that does leaves none behind."""
    port = listeners.listen_addrs()[0][1]
    address: Address = ("127.0.0.2", port)
    await asyncio.gather(listeners.update([ANY, address]), listeners.update([ANY, address]))
    assert not listeners.failed
    assert address in listeners.listen_addrs()
    await asyncio.gather(listeners.update([("127.0.0.3", port)]), listeners.update([]))
    assert listeners.listen_addrs() == []
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.3", port)


async def test_passed_socket_outlives_its_listener() -> None:
    """A socket of whoever started us is listened on as it is, and left listening."""
    with socket.create_server(ANY) as passed:
        address: Address = passed.getsockname()
        listeners = Listeners(cast("TowlineAddon", None), [address], {address: passed.fileno()})
        await listeners.setup_servers()
        assert listeners.listen_addrs() == [address]
        await listeners.update([])
        _, writer = await asyncio.open_connection(*address)  # the backlog takes it
        writer.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the backlog from Linux's struct tcp_info")
async def test_backlog_reaches_the_kernel(listeners: Listeners) -> None:
    """The backlog is ours, not asyncio's default of 100, nor the number of connections accepted in one turn."""
    (server,) = listeners._open.values()
    # struct tcp_info of a listener: tcpi_sacked (offset 28) is the configured backlog (Linux net/ipv4/tcp.c)
    with socket.socket(fileno=os.dup(server.sockets[0].fileno())) as copy:
        info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    assert int.from_bytes(info[28:32], "little") == min(BACKLOG, SOMAXCONN)
