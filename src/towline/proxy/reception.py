"""The reception of a connection: it reads one request head, then keeps what comes until somebody serves the request.

    take(bytes)    the request when its head is whole, or why it is refused; after that, bytes go to the inbox
    expire()       the refusal of a connection whose head is late
    close()        a client that closes before its answer has left, which the inbox is told

Without I/O, so that both ways of accepting share it: `towline run` (connection.py) and mitmproxy's layers (layer.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from towline.core.head import HEAD_TIMEOUT, HeadReader, Request
from towline.errors import Refused

MAX_PENDING = 64 * 1024  # bytes past a head that are kept while its request waits; mitmproxy reads as much at once
MAX_DISCARDED = 256 * 1024  # bytes that a refused client may still send and have read; one that goes on wants no answer


@dataclass(slots=True)
class Inbox:
    """What is learned about the client's side after the head, for the task that serves the request."""

    pending: bytearray = field(default_factory=bytearray)
    """Bytes past the head that nobody has used yet."""
    closed: bool = False
    """The client has sent FIN, or is gone."""
    on_closed: Callable[[], object] | None = None
    """Called once when `closed` becomes true."""
    on_full: Callable[[], object] | None = None
    """Called when MAX_PENDING bytes are kept, or too many were discarded: nothing more should be read for now."""
    discarding: bool = False
    """The request is refused: what the client still sends is forgotten."""
    discarded: int = 0
    """Bytes of it."""

    def take(self, data: bytes) -> None:
        """Keep what came past the head, which may be the body of a push, until somebody uses it."""
        if self.discarding:
            self.discarded += len(data)
        else:
            self.pending += data
        if (self.discarded > MAX_DISCARDED or len(self.pending) >= MAX_PENDING) and self.on_full is not None:
            self.on_full()

    def discard(self) -> None:
        """Forget what is kept and what comes."""
        self.discarding = True
        self.pending.clear()

    def close(self) -> None:
        """The client's side has ended: nothing is told from here on."""
        self.closed = True
        callback, self.on_closed, self.on_full = self.on_closed, None, None
        if callback is not None:
            callback()


class Reception:
    """One connection's reception."""

    def __init__(self) -> None:
        self._head: HeadReader | None = HeadReader()
        self.inbox = Inbox()

    @property
    def asked(self) -> bool:
        """The head was read, or refused."""
        return self._head is None

    def take(self, data: bytes) -> Request | Refused | None:
        """Take bytes from the client; what is asked, as soon as that is known."""
        if self._head is None:
            self.inbox.take(data)
            return None
        try:
            whole = self._head.feed(data)
        except Refused as refused:
            self._head = None
            return refused
        if whole is None:
            return None
        self._head = None
        request, rest = whole
        self.inbox.take(rest)
        return request

    def expire(self) -> Refused | None:
        """HEAD_TIMEOUT is over: the refusal of a connection that has asked nothing so far."""
        if self._head is None:
            return None
        self._head = None
        message = f"towline: no complete request head within {HEAD_TIMEOUT:.0f} s"
        return Refused(HTTPStatus.REQUEST_TIMEOUT, "head_timeout", message)

    def close(self) -> None:
        """The client has sent FIN, or is gone."""
        self.inbox.close()
