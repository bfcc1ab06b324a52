"""Moving the bytes of one tunnel between two connected sockets, and ending it so that its client can resume.

    client ──── up ───▶ upstream     Each direction runs in turns (direction.py), when the event loop says that the
    client ◀── down ─── upstream     socket it waits for is ready. An idle tunnel wakes nobody and holds no buffer.

How ends travel:

1. FIN goes through, after every byte before it, in each direction on its own. A half-closed tunnel in which nothing
   moves and nothing is queued for `half_closed` seconds is ended.
2. An upstream that is gone (RST, timeout, broken TLS) or given up (release()) reaches the client as FIN, after
   everything that could be read. As RST by reset() alone: containerd resumes only after FIN (clients.md 0, fact 2).
3. close() with unread bytes sends RST and forgets what was queued (RFC 1122 4.2.2.13). So after the FIN of rule 2 the
   client's bytes are read and dropped, until its own FIN, or until it has had everything for `linger` seconds.
4. A client that is gone takes the upstream with it at once. One that does not read is not gone: the tunnel waits for it
   and holds one carrier's worth, no more.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from towline.core.delivery import Delivery
from towline.core.evidence import Carried
from towline.net.carriers import Carrier, CopyCarrier, TlsCarrier
from towline.net.direction import REST, Direction, Interest
from towline.net.ends import End, Ending, first_end
from towline.net.leg import Leg
from towline.net.pipes import PipePool
from towline.net.splice import SpliceCarrier

YOUNG = 1 << 16
"""Bytes, both ways together, up to which somebody waits for each of them: a handshake, and the first answer. Most that
is uploaded is answered with next to nothing."""


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Bounds on a tunnel that is ending, in seconds; core.policy.LimitsPolicy has the defaults."""

    linger: float
    """For the client to close after it has everything and the FIN."""
    half_closed: float
    """Of silence, after which a half-closed tunnel is ended."""


@dataclass(frozen=True, slots=True)
class RelayEnd:
    """How a tunnel went; `reason` is a phrase that begins with `first`."""

    first: End
    reason: str
    bytes_in: int
    """Upstream to client, as far as the client's socket took them."""
    bytes_out: int
    """Client to upstream, likewise."""


class Relay:
    """One tunnel's byte path, made inside a running event loop. run() owns both sockets and is their closing path."""

    def __init__(
        self,
        client: socket.socket,
        upstream: socket.socket,
        *,
        to_upstream: bytes = b"",
        to_client: bytes = b"",
        limits: RelayLimits,
        pipes: PipePool | None,
        on_end: Callable[[End], None] | None = None,
    ) -> None:
        """Both sockets are connected and non-blocking: the client plain TCP, the upstream TCP or TLS over it.

        `to_upstream` was already read from the client and goes first; `to_client` likewise, the other way. With `pipes`
        the relay splices unless the upstream is TLS; without, it copies. `on_end` is told of the first end when it is
        seen, before the client can know of it: it may be back for the rest long before run() returns.
        """
        self._on_end = on_end
        self._pipes = pipes
        self._client = client
        self._upstream = upstream
        self.leg = Leg(upstream)
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._up = Direction(client, upstream, _carrier(client, upstream, pipes, to_upstream), now=now)
        carrier = _carrier(upstream, client, pipes, to_client)
        self._down = Direction(upstream, client, carrier, now=now, before_fin=self._tell_before_fin)
        self._delivery = Delivery(now=now)
        self._done: asyncio.Future[Ending] = self._loop.create_future()
        self._cause: Ending | None = None
        self._released = False
        self._resetting = False
        self._lingering = False
        self._timer: asyncio.TimerHandle | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._when_moving: Callable[[], None] | None = None
        self._watched: tuple[Interest | None, ...] = ()

    @property
    def bytes_in(self) -> int:
        """Bytes moved so far from upstream to client."""
        return self._down.moved

    @property
    def bytes_out(self) -> int:
        """Bytes moved so far from client to upstream."""
        return self._up.moved

    @property
    def last_in(self) -> float:
        """When a byte last moved from upstream to client, on the loop's clock; until then, when the relay began."""
        return self._down.last_at

    @property
    def last_out(self) -> float:
        """When a byte last moved from client to upstream, likewise."""
        return self._up.last_at

    @property
    def last_activity(self) -> float:
        """When a byte last moved either way, likewise."""
        return max(self.last_in, self.last_out)

    @property
    def queued_in(self) -> int:
        """Bytes from upstream that the client has not acknowledged: while there are any, silence is not a stall."""
        return self._down.queued

    @property
    def tail(self) -> bytes:
        """The last bytes read from upstream, enough for core.tls.ended_cleanly; fewer where less came or was seen."""
        return self._down.tail

    @property
    def client_tail(self) -> bytes:
        """The same of what was read from the client."""
        return self._up.tail

    def call_when_moving(self, callback: Callable[[], None]) -> None:
        """Call back once, when something moves next; a later call replaces it."""
        self._when_moving = callback

    def take(self, *, known: float | None) -> Carried | None:
        """What upstream delivered since the last time, as soon as that is evidence (core/delivery.py); else None."""
        return self._delivery.take(known=known)

    async def run(self) -> RelayEnd:
        """Move bytes until the tunnel is over, then close both sockets; cancellation closes them at once."""
        try:
            self._turn(None)
            cause = await self._done
        finally:
            self._close()
        return RelayEnd(cause.first, cause.reason, self.bytes_in, self.bytes_out)

    def release(self) -> None:
        """End the client's side cleanly: what was read goes out, then FIN. Nothing more is read from upstream.

        run() returns once the client has closed, or has had everything for `linger` seconds. A client that does not
        read is waited for; a caller with a deadline of its own cancels run().
        """
        self._note_end(Ending(End.RELEASED))
        self._released = True
        self._down.stop()
        self._turn(None)

    def reset(self) -> None:
        """End the client's side with RST, now: for the clients that resume after nothing else (clients.md A.8).

        May be called from `on_end`. What the client has not read yet may be lost to it, which such clients expect.
        """
        self._note_end(Ending(End.RELEASED))
        # No FIN, and the RST leaves with the last descriptor of the connection, whoever closes that.
        with suppress(OSError):
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._resetting = True
        if not self._done.done() and self._cause:
            self._finish(self._cause)

    def _turn(self, event: Interest | None) -> None:
        """Give a turn to each direction that waited for `event` (None: that is due one), then act on what it led to."""
        if self._done.done():
            return
        try:
            now = self._loop.time()
            for direction, other in ((self._down, self._up), (self._up, self._down)):
                if direction.waiting == event and not direction.over and direction.turn(now=now):
                    other.break_off()
            if self._pipes is not None and self._down.moved + self._up.moved < YOUNG:
                self._pipes.give_way()
            self._delivery.note(now=now, bytes_in=self._down.moved, bytes_out=self._up.moved, held=self._down.holds)
            if when_moving := self._when_moving:
                self._when_moving = None
                when_moving()
            self._settle()
        except Exception as error:  # a bug. The loop would only log it and leave the tunnel hanging; so run() raises it
            self._done.set_exception(error)

    def _note_end(self, cause: Ending) -> None:
        """Keep the first end, and tell of it."""
        if self._cause is None:
            self._cause = cause
            if self._on_end is not None:
                self._on_end(cause.first)

    def _tell_before_fin(self) -> bool:
        """Tell of an end that the client is about to see as FIN, and keep the FIN back if it is to be RST instead."""
        if first := first_end(self._up, self._down):
            self._note_end(first)
        return not self._resetting

    def _settle(self) -> None:
        """Apply the rules above to what the directions have come to; then wait for what they wait for."""
        up, down = self._up, self._down
        has_end = self._cause or down.source_ended or up.source_ended or down.sink_error or up.sink_error
        if has_end and self._has_ended():
            return
        self._watch(None if down.rests else down.waiting, None if up.rests else up.waiting)
        if self._rest is None and (up.rests or down.rests):
            self._rest = self._loop.call_later(REST, self._rest_is_over)
        if has_end and down.source_ended and self._upstream_is_gone:
            self._upstream.close()

    @property
    def _upstream_is_gone(self) -> bool:
        return bool(self._released or self._down.source_error or self._up.sink_error)

    def _has_ended(self) -> bool:
        """Note an end, and do what follows from it; whether nothing is left to wait for here."""
        up, down = self._up, self._down
        if first := first_end(up, down):
            self._note_end(first)
        cause = self._cause
        if self._done.done():
            return True
        if cause and (up.source_error or down.sink_error or (up.over and down.over)):
            self._finish(cause)
            return True
        if self._upstream_is_gone and not (up.over or up.discarding):
            up.discard()
            self._turn(None)
            return True
        if cause:
            self._set_timer(cause)
        return False

    def _watch(self, *wanted: Interest | None) -> None:
        """Have the loop call `_turn` for these events and no others.

        A socket that nothing waits for leaves the selector altogether. It has to: epoll reports errors and hang-ups
        whether asked for or not, over and over, and a tunnel that waits for its other side would burn a core.
        """
        if wanted == self._watched:
            return
        before, now = ({each for each in interests if each} for interests in (self._watched, wanted))
        for interest in before - now:
            remove = self._loop.remove_reader if interest.event == selectors.EVENT_READ else self._loop.remove_writer
            remove(interest.fd)
        for interest in now - before:
            add = self._loop.add_reader if interest.event == selectors.EVENT_READ else self._loop.add_writer
            add(interest.fd, self._turn, interest)
        self._watched = wanted

    def _rest_is_over(self) -> None:
        self._rest = None
        for direction in (self._down, self._up):
            if direction.rests:
                self._turn(direction.waiting)

    def _set_timer(self, cause: Ending) -> None:
        """Start the one timer that bounds the present state: half-closed first, then perhaps lingering."""
        if self._down.over and self._up.discarding:
            if not self._lingering:
                self._lingering = True
                self._restart_timer(self._limits.linger, cause)
        elif self._timer is None and (self._down.over or self._up.over or self._up.discarding):
            self._restart_timer(self._limits.half_closed, cause)

    def _restart_timer(self, seconds: float, cause: Ending) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._time_is_up, cause)

    def _time_is_up(self, cause: Ending) -> None:
        """End the tunnel, or give it more time where a peer still has bytes to take or something moved meanwhile."""
        limit = self._limits.linger if self._lingering else self._limits.half_closed
        if self._down.queued or self._up.queued:
            self._restart_timer(limit, cause)
        elif self._lingering:
            self._finish(cause)
        elif (silence := self._loop.time() - self.last_activity) < limit:
            self._restart_timer(limit - silence, cause)
        else:
            self._finish(Ending(End.IDLE_HALF_CLOSED, f"{cause.reason}, then nothing for {limit:g} s"))

    def _finish(self, cause: Ending) -> None:
        self._wait_for_nothing()
        self._done.set_result(cause)

    def _wait_for_nothing(self) -> None:
        self._watch()
        for timer in (self._timer, self._rest):
            if timer:
                timer.cancel()

    def _close(self) -> None:
        self._wait_for_nothing()
        self._up.close()
        self._down.close()
        self._on_end = self._when_moving = None  # nobody is told any more, and none of those who were holds this
        # The FIN is sent here and not left to close(): the client's descriptor may be a duplicate, its connection open.
        with suppress(OSError):
            if not (self._resetting or self._down.over):  # over: it has been sent
                self._client.shutdown(socket.SHUT_WR)
        self._client.close()
        self._upstream.close()


def _carrier(source: socket.socket, sink: socket.socket, pipes: PipePool | None, head: bytes) -> Carrier:
    """The fastest carrier for these two sockets."""
    if isinstance(source, ssl.SSLSocket):
        return TlsCarrier(source, sink, head)
    if pipes is None or isinstance(sink, ssl.SSLSocket):
        return CopyCarrier(source, sink, head)
    return SpliceCarrier(source, sink, pipes, head)
