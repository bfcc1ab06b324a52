"""What a direction of a tunnel carries its bytes in: they are taken from the source, held, and given to the sink.

    Carrier         the interface, one per direction
    CopyCarrier     recv and send: on any platform, and toward TLS
    TlsCarrier      the same from TLS, which comes record by record
    DropCarrier     takes and forgets: for a client still sending when its upstream is gone

splice.py adds the one that does not copy. All raise what their sockets raise: BlockingIOError and the SSLWant errors
mean "later", any other OSError means that this socket is of no more use.
"""

from __future__ import annotations

import socket
import ssl
from typing import Protocol

from towline.core.tls import TAIL

COPY_BYTES = 112 << 10
"""The most that one turn copies, and about what a direction then holds: 0.53 CPU-seconds per GB, where 64 KiB cost 0.7
(python -m tests.bench.relay). 256 KiB would cost 0.43 when full, but 45 us more whenever little comes: glibc maps fresh
memory for blocks from 128 KiB on. Buffers kept in a pool were no faster."""

TLS_RECORD = 1 << 14
"""Bytes that one TLS record carries at most (RFC 8446 5.1)."""

_NOTHING = memoryview(b"")  # in place of an empty view, which would keep the memory of all that it was cut from


class Carrier(Protocol):
    """Holds what the source gave until the sink has taken all of it."""

    held: int
    """Bytes taken and not yet given."""
    tail: bytes
    """The last bytes taken, core.tls.TAIL of them at most, as far as they were seen."""
    goes_on: bool
    """Whether the next fill is due in the same turn, no selector being asked: the source's end was found behind bytes,
    or as much came as a fill takes at most."""

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

    goes_on = False

    def __init__(self, source: socket.socket, sink: socket.socket, head: bytes = b"") -> None:
        self._source = source
        self._sink = sink
        self._bytes = memoryview(head)
        self.held = len(head)
        self.tail = head[-TAIL:]

    def fill(self) -> int:
        """Receive once."""
        return self._hold(self._source.recv(COPY_BYTES))

    def drain(self) -> int:
        """Send once. A TLS send that would block is repeated with the very same bytes, as OpenSSL demands."""
        sent = self._sink.send(self._bytes)
        self.held -= sent
        self._bytes = self._bytes[sent:] if self.held else _NOTHING
        return sent

    def close(self) -> None:
        """Forget what is held."""
        self._bytes = _NOTHING
        self.held = 0

    def _hold(self, data: bytes) -> int:
        self._bytes = memoryview(data)
        self.held = len(data)
        self.tail = data[-TAIL:] if self.held >= TAIL else (self.tail + data)[-TAIL:]
        return self.held


class TlsCarrier(CopyCarrier):
    """Copies from TLS, many records a turn: one at a time costs twice the CPU."""

    def __init__(self, source: ssl.SSLSocket, sink: socket.socket, head: bytes = b"") -> None:
        super().__init__(source, sink, head)
        self.goes_on = False  # only where the end was found
        self._error: OSError | None = None

    def fill(self) -> int:
        """Receive until no whole record is left or COPY_BYTES are held. An end found behind bytes is told next time."""
        records: list[bytes] = []
        taken = 0
        while taken < COPY_BYTES and not self.goes_on:
            try:
                # All of a record: a rest would stay inside OpenSSL, where no selector sees it.
                record = self._source.recv(TLS_RECORD)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if not records:
                    raise
                break
            except OSError as error:
                record = b""
                self._error = error
            self.goes_on = not record
            records.append(record)
            taken += len(record)
        if self._error and not taken:
            raise self._error
        return self._hold(b"".join(records))


class DropCarrier:
    """Receives and holds nothing: the bytes have nowhere to go, but unread they would make close() send RST."""

    held = 0
    tail = b""
    goes_on = False

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
