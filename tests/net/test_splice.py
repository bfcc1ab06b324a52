"""The two carriers that move bytes between sockets keep the same contract; splicing adds when a pipe is borrowed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NoReturn

import pytest
from tests.net.tunnel import reset, tcp_pair

from towline.core.tls import TAIL
from towline.net.carriers import Carrier, CopyCarrier, DropCarrier
from towline.net.pipes import SHORT_TURN, PipePool
from towline.net.splice import LITTLE, SpliceCarrier

type Make = Callable[..., Carrier]


class Ends:
    """A carrier's two connections: the test writes to one and reads from the other."""

    def __init__(self) -> None:
        self.source, self.writer = tcp_pair(1 << 14)
        self.sink, self.reader = tcp_pair(1 << 14)

    def close(self) -> None:
        """Close all four."""
        for sock in (self.source, self.writer, self.sink, self.reader):
            sock.close()


class FullSink(socket.socket):
    """Takes what is spliced, and nothing that is sent."""

    def send(self, *_: object) -> NoReturn:
        """Refuse, for now."""
        raise BlockingIOError


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Two connections with small queues."""
    ends = Ends()
    yield ends
    ends.close()


@pytest.fixture
def pool() -> Iterator[PipePool]:
    """A pool with a single pipe, which is back in the end."""
    pool = PipePool(limit=1)
    yield pool
    assert pool._lent == 0
    pool.close()


@pytest.fixture(params=["splice", "splice without a pipe", "copy"])
def make(request: pytest.FixtureRequest, ends: Ends, pool: PipePool) -> Iterator[Make]:
    """Makes each carrier between the two connections."""
    lent = pool.borrow() if request.param == "splice without a pipe" else None

    def make(head: bytes = b"") -> Carrier:
        if request.param == "copy":
            return CopyCarrier(ends.source, ends.sink, head)
        return SpliceCarrier(ends.source, ends.sink, pool, head)

    yield make
    if lent:
        pool.give_back(lent)


def test_what_is_taken_is_held_until_it_is_given(make: Make, ends: Ends) -> None:
    """fill() and drain() return what they moved, and `held` is the difference."""
    carrier = make()
    ends.writer.send(b"some bytes")
    assert carrier.fill() == carrier.held == 10
    assert carrier.drain() == 10
    assert carrier.held == 0
    assert ends.reader.recv(100) == b"some bytes"


def test_the_head_is_held_from_the_start(make: Make, ends: Ends) -> None:
    """Bytes read before go out before what the source brings."""
    carrier = make(b"head, ")
    assert carrier.held == carrier.drain() == 6
    ends.writer.send(b"body")
    carrier.fill()
    carrier.drain()
    assert ends.reader.recv(100) == b"head, body"


def test_later_and_end_are_the_sources_own(make: Make, ends: Ends) -> None:
    """Nothing yet is BlockingIOError, FIN is 0, and nothing is held after either."""
    carrier = make()
    with pytest.raises(BlockingIOError):
        carrier.fill()
    ends.writer.shutdown(socket.SHUT_WR)
    assert carrier.fill() == 0
    assert carrier.held == 0


def test_a_reset_is_the_sources_own(make: Make, ends: Ends) -> None:
    """RST is ConnectionResetError, after what had come before it."""
    carrier = make()
    ends.writer.send(b"before")
    reset(ends.writer)
    assert carrier.fill() == carrier.drain() == 6
    with pytest.raises(ConnectionResetError):
        carrier.fill()
    assert carrier.held == 0


def test_a_full_sink_keeps_the_rest_in_the_carrier(make: Make, ends: Ends) -> None:
    """drain() takes what fits, then raises BlockingIOError, and nothing is lost."""
    body = bytes(range(256)) * 200
    carrier = make(body)
    given = carrier.drain()
    with suppress(BlockingIOError):
        while True:
            given += carrier.drain()
    assert carrier.held == len(body) - given > 0
    received = bytearray()
    while len(received) < len(body):
        received += ends.reader.recv(1 << 16)
        if carrier.held:
            carrier.drain()
    assert received == body


def test_what_was_given_is_not_kept_in_memory(ends: Ends) -> None:
    """An idle direction holds no buffer: the last view does not keep what it was cut from."""
    carrier = CopyCarrier(ends.source, ends.sink, bytes(1000))
    carrier.drain()
    assert carrier._bytes.obj == b""


def test_close_forgets_what_is_held(make: Make, ends: Ends) -> None:
    """A carrier closed in the middle holds nothing, and may be closed again."""
    carrier = make()
    ends.writer.send(b"never given")
    carrier.fill()
    carrier.close()
    assert carrier.held == 0
    carrier.close()


def test_a_pipe_is_borrowed_only_while_it_holds_much(ends: Ends, pool: PipePool) -> None:
    """Before, between and after bytes the pool has its pipe; nothing, little and an error keep none."""
    carrier = SpliceCarrier(ends.source, ends.sink, pool)
    with pytest.raises(BlockingIOError):
        carrier.fill()
    assert pool._lent == 0
    ends.writer.send(bytes(LITTLE))
    assert carrier.fill() == LITTLE
    assert pool._lent == 0
    assert carrier.drain() == LITTLE
    ends.writer.send(bytes(LITTLE + 1))
    assert carrier.fill() == LITTLE + 1
    assert pool._lent == 1
    assert carrier.drain() == LITTLE + 1
    assert pool._lent == 0


def test_a_pipe_is_used_again_once_there_is_one(ends: Ends, pool: PipePool) -> None:
    """Copying is for one fill: the next asks the pool anew."""
    carrier = SpliceCarrier(ends.source, ends.sink, pool)
    lent = pool.borrow()
    assert lent
    ends.writer.send(bytes(LITTLE + 1))
    carrier.fill()
    carrier.drain()
    pool.give_back(lent)
    ends.writer.send(bytes(LITTLE + 1))
    carrier.fill()
    assert pool._lent == 1
    carrier.drain()


def test_the_tail_is_the_last_bytes_taken(make: Make, ends: Ends) -> None:
    """Across fills, and from the head on, in a stream of little ones."""
    carrier = make(b"the head, ")
    said = b"the head, "
    assert carrier.tail == said
    for piece in (b"one", b"two" * 20, b"three" * 50):
        carrier.drain()
        ends.writer.send(piece)
        carrier.fill()
        said += piece
        assert carrier.tail == said[-TAIL:]


@pytest.mark.parametrize("fin", ["with the bytes", "after them"])
def test_the_tail_of_much_is_seen(make: Make, ends: Ends, fin: str) -> None:
    """However much came at once, its last bytes are copied, so that an end can be told from a cut."""
    carrier = make()
    said = bytes(range(256)) * 40
    ends.writer.send(said)
    if fin == "with the bytes":
        ends.writer.shutdown(socket.SHUT_WR)
    assert carrier.fill() == carrier.drain() == len(said)
    assert carrier.tail == said[-TAIL:]
    ends.writer.shutdown(socket.SHUT_WR)
    assert carrier.fill() == 0
    assert carrier.tail == said[-TAIL:]


def test_what_is_in_a_pipe_is_no_tail_yet(ends: Ends, pool: PipePool) -> None:
    """Between fill() and drain() the last bytes were not seen, and those before them are not the last any more."""
    carrier = SpliceCarrier(ends.source, ends.sink, pool, b"the head")
    carrier.drain()
    ends.writer.send(bytes(LITTLE + 1))
    carrier.fill()
    assert carrier.tail == b""
    carrier.drain()
    assert carrier.tail == bytes(TAIL)


def test_the_last_bytes_of_many_wait_in_memory_for_a_full_sink(pool: PipePool) -> None:
    """Wherever in its bytes the sink stops, the pipe is kept down to the last TAIL, and nothing is lost or repeated."""
    source, writer = tcp_pair()
    sink, reader = tcp_pair(1 << 12)
    with source, writer, sink, reader:
        carrier = SpliceCarrier(source, sink, pool)
        said = b""
        received = bytearray()
        for size in range(LITTLE + 1, 60_000, 997):
            piece = bytes((size + i) % 251 for i in range(size))
            said += piece
            writer.setblocking(True)
            writer.sendall(piece)
            taken = 0
            while taken < size:
                taken += carrier.fill()
                while carrier.held:
                    assert pool._lent == (carrier.held > TAIL)
                    with suppress(BlockingIOError):
                        carrier.drain()
                    with suppress(BlockingIOError):
                        received += reader.recv(size // 3)
            assert carrier.tail == said[-TAIL:]
        while len(received) < len(said):
            received += reader.recv(1 << 16)
        assert received == said


def test_a_sink_that_is_full_at_the_last_bytes_has_taken_the_others(ends: Ends, pool: PipePool) -> None:
    """drain() tells what was spliced even where nothing more could be sent."""
    with FullSink(fileno=ends.sink.detach()) as sink:
        carrier = SpliceCarrier(ends.source, sink, pool)
        ends.writer.send(bytes(LITTLE + 1))
        carrier.fill()
        assert carrier.drain() == LITTLE + 1 - TAIL
        assert carrier.held == TAIL
        with pytest.raises(BlockingIOError):
            carrier.drain()


def test_dropping_reads_and_holds_nothing(ends: Ends) -> None:
    """A DropCarrier empties its source and ends with it."""
    carrier = DropCarrier(ends.source)
    ends.writer.send(b"in vain")
    assert carrier.fill() == 7
    assert carrier.held == carrier.drain() == 0
    assert carrier.tail == b""
    ends.writer.shutdown(socket.SHUT_WR)
    assert carrier.fill() == 0
    carrier.close()


async def test_a_turn_is_as_short_as_the_pool_wants_it(pool: PipePool) -> None:
    """What is beyond waits in the socket."""
    source, writer = tcp_pair()
    sink, reader = tcp_pair()
    with source, writer, sink, reader:
        size = writer.send(bytes(2 * SHORT_TURN))
        assert size > SHORT_TURN
        pool.give_way()
        carrier = SpliceCarrier(source, sink, pool)
        assert SHORT_TURN // 2 < carrier.fill() <= SHORT_TURN  # packets are not cut
        carrier.close()
