"""One direction's turns: what it waits for after each, with a carrier that does as the test says."""

from __future__ import annotations

import errno
import fcntl
import selectors
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress

import pytest
from tests.net.tunnel import tcp_pair

from towline.net.direction import ENOUGH, FILLS, REST, STREAM, Direction, Interest

BEGAN, NOW = 1000.0, 1001.0  # seconds on a clock that stands

type Sockets = tuple[socket.socket, socket.socket, socket.socket]
"""The source, the sink, and the sink's peer."""


class ScriptedCarrier:
    """Answers fill() and drain() from two lists: a number of bytes, or an error to raise."""

    def __init__(self) -> None:
        self.fills: list[int | OSError] = []
        self.drains: list[int | OSError] = []
        self.held = 0
        self.tail = b"the last bytes"
        self.goes_on = False
        self.closed = False

    def fill(self) -> int:
        """Take what is next in `fills`."""
        assert self.held == 0, "the source is read only when the sink has taken all"
        taken = self.fills.pop(0)
        if isinstance(taken, OSError):
            raise taken
        self.held = taken
        return taken

    def drain(self) -> int:
        """Give what is next in `drains`."""
        given = self.drains.pop(0)
        if isinstance(given, OSError):
            raise given
        self.held -= given
        return given

    def close(self) -> None:
        """Note it."""
        self.closed = True
        self.held = 0


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Two connections."""
    source, source_peer = tcp_pair()
    sink, sink_peer = tcp_pair()
    with source, source_peer, sink, sink_peer:
        yield source, sink, sink_peer


@pytest.fixture
def carrier() -> ScriptedCarrier:
    """The carrier in use."""
    return ScriptedCarrier()


@pytest.fixture
def direction(sockets: Sockets, carrier: ScriptedCarrier) -> Direction:
    """The direction under test."""
    source, sink, _ = sockets
    return Direction(source, sink, carrier, now=BEGAN)


def reads(sock: socket.socket) -> Interest:
    """Waiting for `sock` to have bytes."""
    return Interest(sock.fileno(), selectors.EVENT_READ)


def writes(sock: socket.socket) -> Interest:
    """Waiting for `sock` to take bytes."""
    return Interest(sock.fileno(), selectors.EVENT_WRITE)


def test_a_turn_moves_one_fill_and_waits_for_the_source(
    direction: Direction, carrier: ScriptedCarrier, sockets: Sockets
) -> None:
    """However much there is to read, the loop gets its turn back after one carrier's worth."""
    carrier.fills, carrier.drains = [100, 100, 100], [100, 100, 100]
    assert direction.last_at == BEGAN
    direction.turn(now=NOW)
    assert (direction.moved, direction.waiting) == (100, reads(sockets[0]))
    direction.turn(now=NOW + 1)
    assert direction.last_at == NOW + 1


def test_a_sink_that_takes_part_is_waited_for(direction: Direction, carrier: ScriptedCarrier, sockets: Sockets) -> None:
    """A short write is the sign of a full queue: no second try, no read; the next turn gives the rest and reads on."""
    carrier.fills, carrier.drains = [100, 5], [60, 40, 5]
    direction.turn(now=NOW)
    assert (direction.moved, direction.waiting) == (60, writes(sockets[1]))
    direction.turn(now=NOW)
    assert (direction.moved, direction.waiting) == (105, reads(sockets[0]))


def test_an_end_behind_bytes_needs_no_event_of_its_own(direction: Direction, carrier: ScriptedCarrier) -> None:
    """A carrier that has met the source's end is asked for it in the turn in which the sink took the bytes."""
    carrier.goes_on = True
    carrier.fills, carrier.drains = [100, 0], [100]
    direction.turn(now=NOW)
    assert (direction.moved, direction.over) == (100, True)


def test_a_source_that_brings_all_that_a_fill_can_is_taken_from_again(
    direction: Direction, carrier: ScriptedCarrier, sockets: Sockets
) -> None:
    """A few times, no more: then the others have their turns."""
    carrier.goes_on = True
    carrier.fills, carrier.drains = [100] * (FILLS + 1), [100] * (FILLS + 1)
    direction.turn(now=NOW)
    assert (direction.moved, direction.waiting) == (FILLS * 100, reads(sockets[0]))


def test_what_tls_wants_is_waited_for(direction: Direction, carrier: ScriptedCarrier, sockets: Sockets) -> None:
    """Reading may wait for the source to be writable, and writing for the sink to be readable."""
    source, sink, _ = sockets
    carrier.fills = [ssl.SSLWantReadError(), ssl.SSLWantWriteError(), 10]
    carrier.drains = [ssl.SSLWantWriteError(), ssl.SSLWantReadError(), 10]
    waited = []
    for _ in range(4):
        direction.turn(now=NOW)
        waited.append(direction.waiting)
    assert waited == [reads(source), writes(source), writes(sink), reads(sink)]
    carrier.fills = [BlockingIOError()]
    direction.turn(now=NOW)
    assert (direction.moved, direction.waiting) == (10, reads(source))


def test_fin_is_passed_on_after_the_last_byte(direction: Direction, carrier: ScriptedCarrier, sockets: Sockets) -> None:
    """The sink's peer sees the end when the source has ended and nothing is held."""
    carrier.fills, carrier.drains = [0], []
    direction.turn(now=NOW)
    assert direction.over
    assert direction.source_ended
    assert direction.source_error is None
    assert direction.waiting is None
    sockets[2].setblocking(True)
    assert sockets[2].recv(1) == b""


def test_a_source_error_ends_like_fin_and_is_kept(direction: Direction, carrier: ScriptedCarrier) -> None:
    """The relay decides what an error means; the sink's peer sees FIN."""
    error = ConnectionResetError(errno.ECONNRESET, "reset")
    carrier.fills = [error]
    direction.turn(now=NOW)
    assert direction.over
    assert direction.source_error is error


def test_a_sink_error_is_kept_and_nothing_is_read(direction: Direction, carrier: ScriptedCarrier) -> None:
    """After it only discard() goes on, which drops what was held."""
    error = BrokenPipeError(errno.EPIPE, "broken pipe")
    carrier.fills, carrier.drains = [10], [error]
    direction.turn(now=NOW)
    assert direction.sink_error is error
    assert not direction.over
    direction.discard()
    assert carrier.closed
    assert direction.queued == 0


def test_stop_takes_nothing_more_but_gives_what_is_held(
    direction: Direction, carrier: ScriptedCarrier, sockets: Sockets
) -> None:
    """After stop() the source is left alone; the end comes when the sink has the rest."""
    carrier.fills, carrier.drains = [100], [60, BlockingIOError(), 40]
    direction.turn(now=NOW)
    direction.stop()
    assert direction.waiting is None
    direction.turn(now=NOW)
    assert direction.waiting == writes(sockets[1])
    direction.turn(now=NOW)
    assert direction.over
    assert direction.moved == 100


def test_fin_can_be_kept_back(carrier: ScriptedCarrier, sockets: Sockets) -> None:
    """The direction is over and its sink open where `before_fin`, asked once, does not want FIN sent."""
    source, sink, sink_peer = sockets
    asked: list[bool] = []

    def keep_back() -> bool:
        asked.append(True)
        return False

    direction = Direction(source, sink, carrier, now=BEGAN, before_fin=keep_back)
    direction.stop()
    direction.turn(now=NOW)
    assert direction.over
    assert asked == [True]
    with pytest.raises(BlockingIOError):
        sink_peer.recv(1)


def test_discard_reads_the_source_to_its_end(carrier: ScriptedCarrier) -> None:
    """The bytes count as moved nowhere, and the sink, which may be closed by then, is not touched."""
    source, peer = tcp_pair()
    sink, sink_peer = tcp_pair()
    direction = Direction(source, sink, carrier, now=BEGAN)
    direction.discard()
    sink.close()
    with source, peer, sink_peer:
        peer.send(b"in vain")
        direction.turn(now=NOW)
        assert (direction.waiting, direction.moved) == (reads(source), 0)
        peer.close()
        direction.turn(now=NOW)
        assert direction.over


def test_queued_counts_the_kernels_part(direction: Direction, carrier: ScriptedCarrier, sockets: Sockets) -> None:
    """What the sink's peer has not acknowledged is queued; a closed sink has nothing."""
    sink = sockets[1]
    assert direction.queued == 0
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += sink.send(bytes(1 << 16))
    carrier.held = 7
    assert 7 < direction.queued <= sent + 7
    sink.close()
    assert direction.queued == 7


def test_where_the_kernel_does_not_say_only_held_bytes_are_queued(
    direction: Direction, carrier: ScriptedCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A platform without SIOCOUTQ loses precision, nothing else."""

    def unsupported(*_: object) -> bytes:
        raise OSError(errno.ENOTTY, "not a terminal")

    monkeypatch.setattr(fcntl, "ioctl", unsupported)
    carrier.held = 7
    assert direction.queued == 7


def stream(
    direction: Direction, carrier: ScriptedCarrier, turns: int, *, size: int = 1448, apart: float = 0.001
) -> float:
    """So many turns of `size` bytes each; the time of the last."""
    carrier.fills, carrier.drains = [size] * turns, [size] * turns
    for number in range(turns):
        assert direction.turn(now=NOW + number * apart)
    return NOW + (turns - 1) * apart


@pytest.mark.parametrize(
    ("turns", "size", "apart", "rests"),
    [
        pytest.param(STREAM + 1, 1448, 0.001, True, id="a stream of packets"),
        pytest.param(STREAM, 1448, 0.001, False, id="too short for a stream"),
        pytest.param(STREAM + 1, ENOUGH, 0.001, False, id="turns that are worth it"),
        pytest.param(STREAM + 1, 1448, REST, False, id="packets far apart"),
    ],
)
def test_stream_rests(
    direction: Direction, carrier: ScriptedCarrier, *, turns: int, size: int, apart: float, rests: bool
) -> None:
    """After some small turns close together, the next is due after a rest."""
    stream(direction, carrier, turns, size=size, apart=apart)
    assert direction.rests is rests


def test_rest_after_rest(direction: Direction, carrier: ScriptedCarrier) -> None:
    """A turn after a rest that finds bytes is followed by a rest, however late it was; one that finds none is not."""
    now = stream(direction, carrier, STREAM + 1)
    carrier.fills, carrier.drains = [5000, BlockingIOError()], [5000]
    assert direction.turn(now=now + 10 * REST)
    assert direction.rests
    assert not direction.turn(now=now + 20 * REST)
    assert not direction.rests


@pytest.mark.parametrize("end", ["break_off", "stop", "discard"])
def test_end_of_a_rest(direction: Direction, carrier: ScriptedCarrier, end: str) -> None:
    """Bytes the other way, and whatever else is due, end a rest at once."""
    stream(direction, carrier, STREAM + 1)
    getattr(direction, end)()
    assert not direction.rests
