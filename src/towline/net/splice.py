"""Carrying bytes from socket to socket without copying them (Linux).

The pages that the network filled move from one socket to the other by reference: splice(2) into a borrowed pipe, and
out of it. Few bytes are read out of the pipe and sent, which costs no more; and so are the last of many, since they may
be the stream's last, and tell an end from a cut (core.tls.ended_cleanly). While the pool has no pipe to lend, all are
copied.

Rejected: looking for FIN before each fill (TCP_INFO), since a FIN that comes a moment after the bytes, as most do, is
missed; and leaving the last bytes to the next fill, which doubles the turns of a download that comes in bursts.
"""

from __future__ import annotations

import socket

from towline.core.tls import TAIL
from towline.net.carriers import CopyCarrier
from towline.net.pipes import PIPE_BYTES, Pipe, PipePool

LITTLE = 4096
"""Bytes up to which a fill is read out of its pipe: one page, no slower than splicing it on."""


class SpliceCarrier(CopyCarrier):
    """Splices between two plain TCP sockets, MPTCP too. Not TLS: its bytes are made in this process."""

    def __init__(self, source: socket.socket, sink: socket.socket, pipes: PipePool, head: bytes = b"") -> None:
        super().__init__(source, sink, head)
        self._pipes = pipes
        self._pipe: Pipe | None = None
        """The pipe that holds what is held. It always holds more than TAIL; what is left is read into memory."""

    def fill(self) -> int:
        """Take from the source once: much of it stays in a pipe, little is read out of it."""
        pipe = self._pipes.borrow()
        if pipe is None:
            self.goes_on = False
            return super().fill()
        self._pipe = pipe
        try:
            taken = pipe.fill(self._source.fileno(), self._pipes.turn_bytes)
        except OSError:
            self._give_pipe_back()
            raise
        self.goes_on = taken == PIPE_BYTES  # never while turns are short
        if taken <= LITTLE:
            self._read_out(pipe)
        else:
            self.held = taken
            self.tail = b""  # until drain() has come to it
        return taken

    def drain(self) -> int:
        """Give to the sink: what the pipe holds without copying, then its last bytes."""
        pipe = self._pipe
        if pipe is None:
            return super().drain()
        given = pipe.drain(self._sink.fileno(), self.held - TAIL)
        self.held -= given
        if self.held > TAIL:
            return given
        self._read_out(pipe)
        try:
            return given + super().drain()
        except BlockingIOError:
            return given

    def close(self) -> None:
        """Forget what is held: the pool closes a pipe that is not empty."""
        super().close()
        self._give_pipe_back()

    def _read_out(self, pipe: Pipe) -> None:
        """Hold in memory what the pipe holds."""
        self._hold(pipe.read())
        self._give_pipe_back()

    def _give_pipe_back(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            self._pipes.give_back(pipe)
