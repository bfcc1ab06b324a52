"""Pipes and their pool: bounds, reuse, and the rule that bytes left behind are never lent on."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import NoReturn

import pytest
from tests.net.tunnel import open_descriptors, tcp_pair

from towline.net import pipes
from towline.net.pipes import PIPE_BYTES, PIPE_LIMIT, SHORT_TURN, Pipe, PipePool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="splice(2) is Linux's")


def test_a_pipe_carries_bytes_from_socket_to_socket() -> None:
    """fill(), drain() and read() move bytes and keep count of those in between."""
    source, writer = tcp_pair()
    sink, reader = tcp_pair()
    pipe = Pipe()
    with source, writer, sink, reader:
        writer.send(b"some bytes")
        assert pipe.fill(source.fileno(), PIPE_BYTES) == pipe.held == 10
        assert pipe.drain(sink.fileno(), 4) == 4
        assert pipe.held == 6
        assert pipe.read() == b" bytes"
        assert pipe.held == 0
        sink.send(b"thing")
        assert reader.recv(100) == b"something"
    pipe.close()


def test_a_pipe_says_later_and_never_and_gone_as_sockets_do() -> None:
    """No bytes yet is BlockingIOError, FIN is 0, and a sink whose peer has reset is a ConnectionError."""
    source, writer = tcp_pair()
    pipe = Pipe()
    with source, writer:
        with pytest.raises(BlockingIOError):
            pipe.fill(source.fileno(), PIPE_BYTES)
        writer.send(b"last")
        writer.close()
        assert pipe.fill(source.fileno(), PIPE_BYTES) == 4
        sink, reader = tcp_pair()
        with sink, reader:
            sink.send(b"unread")
            reader.close()
            with pytest.raises(ConnectionError):
                pipe.drain(sink.fileno(), 4)
        assert pipe.held == 4
    pipe.close()


def test_a_pipe_asks_for_a_mebibyte() -> None:
    """The capacity is what the constant says, where the user's quota allows it."""
    pipe = Pipe()
    assert fcntl.fcntl(pipe._write_end, fcntl.F_GETPIPE_SZ) == PIPE_BYTES
    pipe.close()


def test_an_empty_pipe_is_lent_again() -> None:
    """Pipes are reused, last in first out, and only made when none is idle."""
    pool = PipePool()
    first = pool.borrow()
    assert first
    pool.give_back(first)
    assert pool.borrow() is first
    pool.give_back(first)
    pool.close()


def test_a_pipe_that_holds_bytes_is_closed_instead() -> None:
    """The bytes of one tunnel must not come out in another."""
    before = open_descriptors()
    source, writer = tcp_pair()
    pool = PipePool()
    pipe = pool.borrow()
    assert pipe
    with source, writer:
        writer.send(b"secret")
        pipe.fill(source.fileno(), PIPE_BYTES)
    pool.give_back(pipe)
    assert not pool._idle
    assert open_descriptors() == before
    other = pool.borrow()
    assert other
    assert other is not pipe
    pool.give_back(other)
    pool.close()
    assert open_descriptors() == before


def test_no_more_than_the_limit_are_ever_open() -> None:
    """Beyond the limit there is no pipe to be had until one comes back; close() leaves none."""
    before = open_descriptors()
    pool = PipePool(limit=2)
    first, second = pool.borrow(), pool.borrow()
    assert first
    assert second
    assert pool.borrow() is None
    pool.give_back(first)
    assert pool.borrow() is first
    assert pool.borrow() is None
    pool.give_back(first)
    pool.give_back(second)
    assert open_descriptors() == before + 4
    pool.close()
    assert open_descriptors() == before


def test_the_default_limit_leaves_half_of_an_unprivileged_users_quota() -> None:
    """32 pipes of 1 MiB against pipe-user-pages-soft's default of 16384 pages."""
    assert PIPE_LIMIT * PIPE_BYTES == 16384 * 4096 // 2


def failing_with(code: int) -> Callable[..., NoReturn]:
    """A system call that fails."""

    def fail(*_: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(
    ("module", "call", "code"), [(os, "pipe2", errno.EMFILE), (fcntl, "fcntl", errno.EPERM)], ids=["EMFILE", "EPERM"]
)
def test_where_no_pipe_can_be_had_there_is_none(
    module: ModuleType, call: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of descriptors or over quota: borrow() gives None, counts nothing as lent, and tries again the next time."""
    before = open_descriptors()
    pool = PipePool(limit=1)
    with monkeypatch.context() as patch:
        patch.setattr(module, call, failing_with(code))
        assert pool.borrow() is None
    assert open_descriptors() == before
    pipe = pool.borrow()
    assert pipe
    pool.give_back(pipe)
    pool.close()


@pytest.mark.parametrize(("platform", "supported"), [("linux", True), ("darwin", False)])
def test_a_pool_exists_where_there_is_splice(platform: str, supported: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere relays get None and copy."""
    monkeypatch.setattr(sys, "platform", platform)
    assert (PipePool.where_supported() is not None) == supported


def test_a_pipe_takes_no_more_than_it_is_asked_to() -> None:
    """What is beyond stays in the socket."""
    source, writer = tcp_pair()
    pipe = Pipe()
    with source, writer:
        writer.send(b"some bytes")
        assert pipe.fill(source.fileno(), 4) == 4
        assert pipe.read() == b"some"
        assert source.recv(100) == b" bytes"
    pipe.close()


async def test_turns_are_short_while_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first call to a moment after the last, and full again then."""
    monkeypatch.setattr(pipes, "GIVE_WAY", 0.05)
    loop = asyncio.get_running_loop()
    pool = PipePool()
    assert pool.turn_bytes == PIPE_BYTES
    pool.give_way()
    assert pool.turn_bytes == SHORT_TURN
    await asyncio.sleep(0.03)  # not for luck: later, too, all that follows holds
    last = loop.time()
    pool.give_way()
    async with asyncio.timeout(5):
        while pool.turn_bytes == SHORT_TURN:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert loop.time() - last >= 0.05
    assert pool.turn_bytes == PIPE_BYTES
    pool.give_way()
    pool.close()
    assert pool._timer is not None
    assert pool._timer.cancelled()
