"""Carrying bytes from socket to socket without copying them (Linux).

The pages that the network filled move from one socket to the other by reference: splice(2) into a borrowed pipe, and
out of it. While the pool has no pipe to lend, the carrier copies; which of the two is decided anew at every fill.
"""

from __future__ import annotations

import socket

from towline.net.carriers import CopyCarrier
from towline.net.pipes import Pipe, PipePool


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
        """Splice from the source once, into a pipe that is kept only if something came."""
        self._pipe = self._pipes.borrow()
        if self._pipe is None:
            return super().fill()
        try:
            taken = self._pipe.fill(self._source.fileno())
        except OSError:
            self._give_pipe_back()
            raise
        if not taken:
            self._give_pipe_back()
        return taken

    def drain(self) -> int:
        """Splice to the sink once."""
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
