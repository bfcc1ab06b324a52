"""Carrying bytes from socket to socket without copying them (Linux).

The pages that the network filled move from one socket to the other by reference: splice(2) into a borrowed pipe, and
out of it. Bytes are copied instead where that costs nothing or says something: little ones; the last ones, since they
tell an end from a cut (core.tls.ended_cleanly); and all, while the pool has no pipe to lend.
"""

from __future__ import annotations

import socket

from towline.net.carriers import CopyCarrier
from towline.net.pipes import Pipe, PipePool

LITTLE = 4096
"""Bytes up to which a fill is copied: one page, no slower than splicing it."""

_OPEN = frozenset({1, 4, 5})
"""ESTABLISHED, FIN_WAIT1 and FIN_WAIT2 (linux/tcp_states.h): in every other state the peer has sent FIN or RST."""


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
        """Take from the source once: into a pipe, which is kept while it holds much, or into memory."""
        self._pipe = pipe = None if _peer_has_ended(self._source) else self._pipes.borrow()
        if pipe is None:
            return super().fill()
        try:
            taken = pipe.fill(self._source.fileno())
        except OSError:
            self._give_pipe_back()
            raise
        if taken > LITTLE:
            self.tail = b""
            return taken
        data = pipe.read()
        self._give_pipe_back()
        return self._hold(data)

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


def _peer_has_ended(sock: socket.socket) -> bool:
    """Whether nothing more will arrive than what has arrived. Costs about 1 us."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] not in _OPEN
    except OSError:  # an MPTCP socket answers by its first subflow, while it has that
        return True
