"""One direction of a tunnel: bytes go from its source to its sink, and the source's end is passed on as FIN.

A direction runs in turns. A turn gives the sink what is held, takes from the source, and gives that; then either the
direction is over, or `waiting` says what the next turn waits for. The source is read only when the sink has taken all:
one carrier's worth is the most that is ever held, and after FILLS of them a fast tunnel gives way to the others.

A turn costs the same for a packet as for a megabyte, so a direction whose bytes come in a stream of small turns rests
between them: what arrives meanwhile goes in one turn.
"""

from __future__ import annotations

import fcntl
import math
import selectors
import socket
import ssl
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from towline.net.carriers import Carrier, DropCarrier

REST = 0.004
"""Seconds of a rest, as network cards hold their interrupts back: of a layer nobody notices them, and in packets of
1,448 bytes a layer at 100 Mbit/s costs a sixth (ARCHITECTURE.md, decisions)."""
STREAM = 8
"""Turns, each within REST of the one before, that make a stream: a handshake and a small answer take fewer. Whatever
moves the other way breaks it off, so that no answer to a request waits."""
ENOUGH = 65536
"""Bytes of a turn that is worth its cost: a source that has as many is asked for more at once."""

FILLS = 4
"""Times that a turn takes from its source at most, where each time brings all that a fill can: what one connection has
is warm in the caches. Over 32 tunnels on loopback 0.32 CPU-seconds per GB, where once costs 0.39 and twice 0.35."""


class Interest(NamedTuple):
    """A descriptor and the event that is waited for on it: selectors.EVENT_READ or EVENT_WRITE."""

    fd: int
    event: int


def _yes() -> bool:
    return True


class Direction:
    """Source to sink. It closes neither socket: they belong to the relay."""

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        carrier: Carrier,
        *,
        now: float,
        before_fin: Callable[[], bool] = _yes,
    ) -> None:
        """`before_fin` is called when the sink is about to be sent FIN; False keeps it from being sent."""
        self._before_fin = before_fin
        self._source = source
        self._sink = sink
        self._carrier = carrier
        self.moved = 0
        """Bytes that the sink took."""
        self.last_at = now
        """When it took the last of them, or when the direction was made, on the clock of `now`."""
        # Nothing is taken before the loop says so: a tunnel mostly begins with silence. TLS may hold what no loop sees.
        is_due = carrier.held or isinstance(source, ssl.SSLSocket)
        self._readable = Interest(source.fileno(), selectors.EVENT_READ)
        self._writable = Interest(sink.fileno(), selectors.EVENT_WRITE)
        self.waiting = None if is_due else self._readable
        """What the next turn waits for; None while one is due."""
        self.source_ended = False
        """Nothing more is taken: FIN, an error, or stop()."""
        self.source_error: OSError | None = None
        """The error that ended the source; None where it was FIN."""
        self.sink_error: OSError | None = None
        """Why the sink takes nothing more. Only discard() goes on from here."""
        self.discarding = False
        """Whether discard() was called."""
        self.over = False
        """The source has ended, and the sink took everything and was told."""
        self.rests = False
        """Whether the next turn is due after REST, rather than when what it waits for is there."""
        self._turned_at = -math.inf
        self._streamed = 0  # turns of a stream so far

    @property
    def holds(self) -> bool:
        """Whether something was taken that the sink did not take yet."""
        return self._carrier.held > 0

    @property
    def queued(self) -> int:
        """Bytes that the sink's peer has yet to acknowledge, held here or by the kernel; FIN counts as one."""
        return 0 if self.discarding else self._carrier.held + unacknowledged(self._sink)

    @property
    def tail(self) -> bytes:
        """The last bytes taken from the source, as far as they were seen."""
        return self._carrier.tail

    def turn(self, *, now: float) -> bool:
        """Move what is held and FILLS times a carrier's worth at most; then set `waiting`, `over` or an error.

        True where bytes moved.
        """
        streams = self.rests or now - self._turned_at < REST
        self._streamed = self._streamed + 1 if streams else 0
        self._turned_at, self.rests = now, False
        before = self.moved
        if self._move(now):
            self.rests = self._streamed >= STREAM and self.moved - before < ENOUGH
        return self.moved > before

    def _move(self, now: float) -> bool:
        """Move what a turn moves; whether the source may have more, and all that came was taken."""
        if not self._give(now):
            return False
        for _ in range(FILLS):
            if self.source_ended:
                break
            if not (self._take() and self._give(now)):
                return False
            if not self._carrier.goes_on:
                break
        if self.source_ended:
            self._end()
            return False
        self.waiting = self._readable
        return True

    def break_off(self) -> None:
        """Something moves the other way: what comes next may be the answer to it, and no part of a stream."""
        self._streamed, self.rests = 0, False

    def stop(self) -> None:
        """Take nothing more; the turns that follow give what is held, then FIN."""
        self.source_ended = True
        self.waiting, self.rests = None, False

    def discard(self) -> None:
        """The sink is gone: the turns that follow read the source and drop what it sends, until it ends."""
        self._carrier.close()
        self._carrier = DropCarrier(self._source)
        self.discarding = True
        self.waiting, self.rests = None, False

    def close(self) -> None:
        """Forget what is held, and who was to be told of FIN."""
        self._carrier.close()
        self._before_fin = _yes

    def _take(self) -> bool:
        """Take from the source once; False when it has nothing yet."""
        try:
            taken = self._carrier.fill()
        except (BlockingIOError, ssl.SSLWantReadError):
            self.waiting = self._readable
            return False
        except ssl.SSLWantWriteError:  # TLS has to answer a key update before it reads on
            self.waiting = Interest(self._source.fileno(), selectors.EVENT_WRITE)
            return False
        except OSError as error:
            self.source_error = error
            taken = 0
        self.source_ended = taken == 0
        return True

    def _give(self, now: float) -> bool:
        """Give the sink what is held, once; False when it did not take all."""
        if not self._carrier.held:
            return True
        self.waiting = self._writable
        try:
            given = self._carrier.drain()
        except (BlockingIOError, ssl.SSLWantWriteError):
            return False
        except ssl.SSLWantReadError:  # TLS has to read a handshake message before it writes on
            self.waiting = Interest(self._sink.fileno(), selectors.EVENT_READ)
            return False
        except OSError as error:
            self.sink_error = error
            return False
        self.moved += given
        self.last_at = now
        return not self._carrier.held

    def _end(self) -> None:
        self.over = True
        self.waiting = None
        if not self.discarding and self._before_fin():
            # Not sink.shutdown(): an SSLSocket's own drops its TLS state, and the other direction could not go on.
            with suppress(OSError):  # ENOTCONN: the peer has reset, as the other direction will find
                socket.socket.shutdown(self._sink, socket.SHUT_WR)


def unacknowledged(sock: socket.socket) -> int:
    """Bytes that the kernel keeps until the peer has acknowledged them (tcp(7), SIOCOUTQ); 0 where it does not say."""
    try:
        (queued,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))
    except (OSError, ValueError):  # not Linux; a closed socket
        return 0
    return int(queued)
