"""Carrying bytes from socket to socket without copying them (Linux).

The pages that the network filled move from one socket to the other by reference: splice(2) into a borrowed pipe, and
out of it. Bytes are copied instead where that costs nothing or says something: few ones; the last of many, since they
tell an end from a cut (core.tls.ended_cleanly); and all, while the pool has no pipe to lend.

The last ones are left to the next fill, which copies them if nothing follows. Rejected: looking for FIN before each
fill (TCP_INFO) and copying then. A FIN that comes a moment after the bytes, as most do, was missed.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios

from towline.core.tls import TAIL
from towline.net.carriers import CopyCarrier
from towline.net.pipes import Pipe, PipePool

LITTLE = 4096
"""Bytes up to which a fill is copied: one page, no slower than splicing it."""


class SpliceCarrier(CopyCarrier):
    """Splices between two plain TCP sockets, MPTCP too. Not TLS: its bytes are made in this process."""

    def __init__(self, source: socket.socket, sink: socket.socket, pipes: PipePool, head: bytes = b"") -> None:
        super().__init__(source, sink, head)
        self._pipes = pipes
        self._pipe: Pipe | None = None

    @property
    def held(self) -> int:
        """Bytes taken and not yet given."""
        return self._pipe.held if self._pipe else super().held

    def fill(self) -> int:
        """Take from the source once: much goes into a pipe, all but its last bytes; those, and little, are copied."""
        available = _available(self._source)
        self._pipe = pipe = self._pipes.borrow() if available > LITTLE else None
        if pipe is None:
            return super().fill()
        try:
            taken = pipe.fill(self._source.fileno(), available - TAIL)
        except OSError:
            self._give_pipe_back()
            raise
        self.tail = b""
        return taken

    def drain(self) -> int:
        """Give to the sink once."""
        if self._pipe is None:
            return super().drain()
        given = self._pipe.drain(self._sink.fileno())
        if not self._pipe.held:
            self._give_pipe_back()
        return given

    def close(self) -> None:
        """Forget what is held: the pool closes a pipe that is not empty."""
        super().close()
        self._give_pipe_back()

    def _give_pipe_back(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            self._pipes.give_back(pipe)


def _available(sock: socket.socket) -> int:
    """Bytes that can be read without waiting (tcp(7), SIOCINQ); 0 at the end, and where the kernel does not say."""
    try:
        (available,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)))
    except OSError:
        return 0
    return int(available)
