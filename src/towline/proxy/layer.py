"""Towline's layer in mitmproxy's stack: it reads the request head, asks for the request to be served, and steps aside.

It stands where mitmproxy's HTTP layer would (right below the proxy mode), so that stock HTTP never runs: no unbounded
head, no second request after a rejected CONNECT, no dial of its own. Sans-I/O, like every layer: events in, commands
out.

    DataReceived ...   HeadReader until the head is whole or refused
                       -> TowlineRequestHook, not blocking: the addon serves the request in that hook's task
    DataReceived ...   kept in the inbox: bytes that mitmproxy had read before the connection was detached
    ConnectionClosed   told to the inbox: a client that closes before its answer has left

The end of a served request comes back as ConnectionClosed too: the serving side closes the transport, and mitmproxy's
own bookkeeping does the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from mitmproxy.connection import Client
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context

from towline.core.head import HEAD_TIMEOUT, HeadReader, Request
from towline.errors import Refused

MAX_PENDING = 64 * 1024  # bytes past a head that are kept while its request waits; mitmproxy reads as much at once
MAX_DISCARDED = 256 * 1024  # bytes that a refused client may still send and have read; one that goes on wants no answer


@dataclass(slots=True)
class Inbox:
    """What the layer learns about the client's side after the head, for the task that serves the request."""

    pending: bytearray = field(default_factory=bytearray)
    """Bytes past the head that nobody has used yet."""
    closed: bool = False
    """The client has sent FIN, or is gone."""
    on_closed: Callable[[], object] | None = None
    """Called once when `closed` becomes true."""
    on_full: Callable[[], object] = lambda: None
    """Called when MAX_PENDING bytes are kept, or too many were discarded: nothing more should be read for now."""
    discarding: bool = False
    """The request is refused: what the client still sends is forgotten."""
    discarded: int = 0
    """Bytes of it."""

    def take(self, data: bytes) -> None:
        """Keep what came past the head, which may be the body of a push, until somebody uses it."""
        if self.discarding:
            self.discarded += len(data)
            if self.discarded > MAX_DISCARDED:
                self.on_full()
            return
        self.pending += data
        if len(self.pending) >= MAX_PENDING:
            self.on_full()

    def discard(self) -> None:
        """Forget what is kept and what comes."""
        self.discarding = True
        self.pending.clear()

    def close(self) -> None:
        """The client's side has ended."""
        self.closed = True
        callback, self.on_closed = self.on_closed, None
        if callback is not None:
            callback()


@dataclass(slots=True)
class Asked:
    """One request to serve: what was asked (or why it is refused), by which connection, and its inbox."""

    client: Client
    request: Request | Refused
    inbox: Inbox


@dataclass
class TowlineRequestHook(commands.StartHook):
    """A request head was read; the addon serves it in this hook's task, beside the layer."""

    asked: Asked
    blocking = False


class RequestLayer(layer.Layer):
    """Reads one request head from the client and starts TowlineRequestHook with it."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._head = HeadReader()
        self._inbox = Inbox()
        self.asked = False
        """The head was read, or refused."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        match event:
            case events.Start():
                yield commands.RequestWakeup(HEAD_TIMEOUT)
            case events.DataReceived(connection=self.context.client, data=data) if self.asked:
                self._inbox.take(data)
            case events.DataReceived(connection=self.context.client, data=data):
                yield from self._read_head(data)
            case events.Wakeup() if not self.asked:
                message = f"towline: no complete request head within {HEAD_TIMEOUT:.0f} s"
                yield from self._ask(Refused(HTTPStatus.REQUEST_TIMEOUT, "head_timeout", message))
            case events.ConnectionClosed(connection=self.context.client):
                self._inbox.close()
                yield commands.CloseConnection(self.context.client)
            case _:
                pass

    def _read_head(self, data: bytes) -> layer.CommandGenerator[None]:
        try:
            whole = self._head.feed(data)
        except Refused as refused:
            yield from self._ask(refused)
            return
        if whole is not None:
            request, rest = whole
            self._inbox.take(rest)
            yield from self._ask(request)

    def _ask(self, request: Request | Refused) -> layer.CommandGenerator[None]:
        self.asked = True
        yield TowlineRequestHook(Asked(self.context.client, request, self._inbox))
