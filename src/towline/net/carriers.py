"""What a direction of a tunnel carries its bytes in: they are taken from the source, held, and given to the sink.

    Carrier         the interface, one per direction
    CopyCarrier     recv and send: any platform, and TLS towards an HTTPS proxy
    DropCarrier     takes and forgets: a client still sending when its upstream is gone

splice.py adds the one that does not copy. All raise what their sockets raise: BlockingIOError and the SSLWant errors
mean "later", any other OSError means that this socket is of no more use.
"""

from __future__ import annotations

import socket
from typing import Protocol

COPY_BYTES = 1 << 18
"""The most that one turn copies, and that a direction holds. A bytes object per turn is as fast as a pool of buffers
(python -m tests.bench.relay). Never under the 16 KiB of a TLS record: a smaller read would leave the rest of the
record inside OpenSSL, where no selector sees it."""


class Carrier(Protocol):
    """Holds what the source gave until the sink has taken all of it."""

    @property
    def held(self) -> int:
        """Bytes taken and not yet given."""
        ...

    def fill(self) -> int:
        """Take from the source once, while nothing is held; return how much, 0 when the source has ended."""
        ...

    def drain(self) -> int:
        """Give to the sink once; return how much it took."""
        ...

    def close(self) -> None:
        """Forget what is held. The sockets are not the carrier's."""
        ...


class CopyCarrier:
    """Copies; `head` is held from the start."""

    def __init__(self, source: socket.socket, sink: socket.socket, head: bytes = b"") -> None:
        self._source = source
        self._sink = sink
        self._bytes = memoryview(head)

    @property
    def held(self) -> int:
        """Bytes taken and not yet given."""
        return len(self._bytes)

    def fill(self) -> int:
        """Receive once."""
        self._bytes = memoryview(self._source.recv(COPY_BYTES))
        return len(self._bytes)

    def drain(self) -> int:
        """Send once. A TLS send that would block is repeated with the very same bytes, as OpenSSL demands."""
        sent = self._sink.send(self._bytes)
        self._bytes = self._bytes[sent:]
        return sent

    def close(self) -> None:
        """Forget what is held."""
        self._bytes = memoryview(b"")


class DropCarrier:
    """Receives and holds nothing: the bytes have nowhere to go, but unread they would make close() send RST."""

    held = 0

    def __init__(self, source: socket.socket) -> None:
        self._source = source

    def fill(self) -> int:
        """Receive once and forget."""
        return len(self._source.recv(COPY_BYTES))

    def drain(self) -> int:
        """Nothing is held."""
        return 0

    def close(self) -> None:
        """Nothing is held."""
