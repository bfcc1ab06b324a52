"""What upstream delivers on one tunnel while nothing else is the limit: the evidence of a route's rate.

    delivery = Delivery(now=now)
    delivery.note(...)                   after each turn of the relay, with its totals; some tenths of a microsecond
    delivery.take(known=...) -> Carried  what came since the last time, as soon as that is evidence; else None

What comes at one moment took the time since what came before. All of that is upstream's, silence included, but for

    turns       The client asked for more: an idle pause, a round trip, and a server that thinks. Told from the window
                updates of HTTP/2 by size and by time: an answer takes a round trip, the next bytes of one do not.
    slow start  The first round trips of each answer, which tell of the distance and not of the rate.
    the client  Time in which it did not take what was there. Upstream's bytes wait meanwhile, and come at once when the
                client goes on: so neither those nor this time can be told apart from the rest. A stretch in which the
                client was the limit for more than a little counts as a whole or not at all: it shows what the route can
                do at least, which is news only where less is known.

A receive window that is too small for the distance counts as upstream's: the next connection over the route has the
same one.
"""

from __future__ import annotations

from towline.core.evidence import Carried

ASKS = 80
"""Bytes of a client from which on it asks for something. A window update takes 35 with its TLS record, two take 48 (RFC
9113 6.9, RFC 8446 5.2). The path of a blob alone is 71 and more, and 55 when compressed, its record and frame 31."""
REMARK = 256
"""Bytes of a server up to which they are no body after a pause: PING, GOAWAY and close_notify end idle connections."""
PAUSE = 1.0
"""Seconds from which on a silence is such a pause; our choice, both."""
LEAST_TURN = 0.001
"""Seconds that a turn is taken to last at least: between the bytes of one answer pass tens of microseconds."""
ROUNDS = 10
"""Round trips of slow start, in which a window grows from 10 segments (RFC 6928) to 14 MB, or to what the way takes.
The shortest turn of the tunnel is taken for one: TCP's own would end at the route's proxy."""
LONGEST_START = 1.0
"""Seconds that slow start is taken to last at most, and before the first turn; our choice."""
START_BYTES = 8 << 20
"""Bytes after which slow start is over at any distance: its window is 4 MiB then, more than what most receivers grant
(half of 6 MiB, tcp(7) tcp_rmem)."""
ENOUGH_BYTES = 1 << 20
"""Bytes that are evidence, however fast they came..."""
ENOUGH_SECONDS = 1.0
"""...and seconds that are, however little came. Our choices."""
CLIENT_SHARE = 0.1
"""Share of a stretch for which the client may be the limit: the rate is underestimated by no more. Our choice."""


class Delivery:
    """The account of one tunnel. All times are on the caller's clock, in seconds."""

    def __init__(self, *, now: float) -> None:
        self._bytes_in = self._bytes_out = 0
        self._last_in = now  # when something came last
        self._said = 0  # bytes that the client sent since
        self._said_at = now  # when it sent the first of them
        self._turn = 0.0  # the shortest so far; 0 before the first
        self._starts = True  # the answer under way is in slow start
        self._start_ends = now + LONGEST_START  # when it is over at the latest
        self._start_bytes = 0  # how much has come in it
        self._held_since: float | None = None  # since when the client does not take what is there
        self._bytes = 0
        self._seconds = 0.0
        self._held_seconds = 0.0

    def note(self, *, now: float, bytes_in: int, bytes_out: int, held: bool) -> None:
        """Take in the relay's totals; `held` while bytes wait here because the client's socket takes no more."""
        if bytes_out != self._bytes_out:
            if not self._said:
                self._said_at = now
            self._said += bytes_out - self._bytes_out
            self._bytes_out = bytes_out
        if bytes_in != self._bytes_in:
            self._came(bytes_in - self._bytes_in, now)
            self._bytes_in, self._last_in, self._said = bytes_in, now, 0
        if held != (self._held_since is not None):
            self._hold(now)

    def _came(self, size: int, now: float) -> None:
        turn = now - self._said_at
        if self._said >= ASKS and turn >= self._turn / 2:
            self._turn = max(LEAST_TURN, min(self._turn or turn, turn))
            self._starts, self._start_bytes = True, 0
            self._start_ends = now + min(ROUNDS * self._turn, LONGEST_START)
        gap = now - self._last_in
        if self._starts:
            self._start_bytes += size
            self._starts = now < self._start_ends and self._start_bytes < START_BYTES
        elif gap < PAUSE or size > REMARK:
            self._bytes += size
            self._seconds += gap

    def _hold(self, now: float) -> None:
        """The client takes no more, or takes again."""
        if self._held_since is None:
            self._held_since = now
        else:
            self._held_seconds += now - self._held_since
            self._held_since = None

    def take(self, *, known: float | None) -> Carried | None:
        """What came since the last time, where it is evidence and a change to what is `known`, in bytes a second."""
        if not (self._seconds >= ENOUGH_SECONDS or (self._bytes >= ENOUGH_BYTES and self._seconds > 0)):
            return None
        if self._held_since is not None and self._held_since < self._last_in:
            self._hold(self._last_in)  # a stretch ends where something came last, and so does its part of a hold
            self._hold(self._last_in)
        carried = Carried(self._bytes, self._seconds)
        client_limited = self._held_seconds > CLIENT_SHARE * self._seconds
        self._bytes, self._seconds, self._held_seconds = 0, 0.0, 0.0
        if client_limited and (known is None or carried.rate <= known):
            return None
        return carried
