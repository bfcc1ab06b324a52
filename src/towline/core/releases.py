"""May a tunnel be released now? What each kind of client can bear, and what it has borne already.

    opened (a CONNECT of a client to a host)   ->  Past: what the layer on this tunnel may have been through
    may_release(who, past, a Release, ...)     ->  Decision: yes or no, FIN or RST, and why
    ended_early (released, or cut by others)   ->  remembered, until the client must have returned

Clients count failures for each layer, not for each host: dockerd's layers may fail five times each, containers/image
looks at what a layer has moved since it was last cut. So there is no budget that all tunnels of a client share. When a
route dies under six layers, all six may be released at once, and each has used up one failure of its own.

Which layer a tunnel carries cannot be seen. But a layer comes back soon after its tunnel ended: dockerd's after 5 s for
each failure it had, the others sooner. A tunnel that is opened in that time may carry it, and is treated as if it did;
where several may be meant, the worst is taken. A layer that only begins then is treated with more care than it needs.

Releases keeps this for a bounded number of clients and hosts, the most recently used ones. One that is forgotten counts
as new.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from towline.core.clients import (
    CONFIRMATIONS,
    DOCKERD_PAUSE,
    TOLERANCE,
    ClientKind,
    Identity,
    identify,
    kind_by_pause,
    wait,
)
from towline.core.stall import Cause, Release

PROGRESS = 1_153_434
"""Bytes, 1.1 MiB: containers/image resumes again after 1 MiB (docker/body_reader.go, bodyReaderMinimumProgress); the
rest is for TLS and HTTP, which we count and it does not. Everyone gets that much: a tunnel that was hardly used tells
little about its route."""
SPACING = 60.0
"""Seconds after which it resumes whatever it has moved (docker/body_reader.go, bodyReaderMSSinceLastRetry)."""
EMPTY = 16384
"""Bytes below which containerd may have got nothing of a body (one TLS record; clients.md E)."""
MAX_EMPTY = 2
"""Tunnels in a row that may end so: containerd bears three (httpreadseeker.go, maxRetry), one of them is left over."""
MAX_FAILURES = 3
"""Failures of a layer up to which dockerd's classic store may be put to another one freely (clients.md E)."""
FATAL_FAILURE = 5
"""The failure that ends dockerd's pull (xfer/download.go, maxDownloadAttempts)."""
LATENESS = 10.0
"""Seconds after its pause in which a client is expected to return: it asks the API and perhaps for a token first, and
each of these CONNECTs is answered within 5 s (policy.py, budget_api)."""
MAX_ENDS = 16
"""Early ends that are kept for one client and host; containers/image fetches 6 layers at once, others 3."""
_DEAD = (Cause.DEAD, Cause.GONE)
"""Causes for which a tunnel brings nothing more, so that it is lost to its client either way."""
MAX_ENTRIES = 4096
"""Clients, and pairs of client and host, that are kept: as many as there may be tunnels (policy.py, tunnels)."""


@dataclass(frozen=True, slots=True)
class Past:
    """What the layer on a tunnel may have been through before; the default is a layer that only begins."""

    failures: int = 0
    """Tunnels of this layer that ended early."""
    empty: int = 0
    """The newest of them in a row that brought nothing."""
    ended_at: float | None = None
    """When the newest of them ended."""
    returned: bool = False
    """So long after one of them as a client waits before it is back."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a tunnel may be released, by RST (`reset`) or by FIN, and the phrase that says why."""

    allowed: bool
    reason: str
    reset: bool = False


def may_release(who: Identity, past: Past, release: Release, *, moved: int, now: float) -> Decision:
    """Decide on a release that a Watch wishes for a tunnel that has moved `moved` bytes to its client."""
    told = f"{who.kind} ({who.why})"
    if objection := _objection(who, past, release, moved, now):
        return Decision(allowed=False, reason=f"{told}: {objection}")
    # Versions of containers/image before 2023 resume after RST alone, later ones after both (clients.md A.8). One that
    # is known by its conduct has shown that it resumes after FIN.
    return Decision(allowed=True, reason=told, reset=who.certain and who.kind is ClientKind.CONTAINERS_IMAGE)


def _objection(who: Identity, past: Past, release: Release, moved: int, now: float) -> str | None:
    """The first rule that stands against a release; None where none does."""
    # What conduct tells may be wrong, so that a client known by nothing else keeps every rule.
    sure = who.kind if who.certain else ClientKind.UNKNOWN

    # 1. HTTP/2: it costs every layer on the tunnel, none is resumed (clients.md A.6). A dead route costs them anyway.
    if sure is ClientKind.HTTP2 and release.cause not in _DEAD:
        return "it would not resume, and its route is alive"

    # 2. Never twice before 1.1 MiB or 60 s: the rule of containers/image, kept for all.
    if past.ended_at is not None and moved < PROGRESS and now - past.ended_at < SPACING:
        return f"cut {now - past.ended_at:.1f} s ago, it has moved {moved} bytes of {PROGRESS} since"

    # 3. containerd and BuildKit give a layer up that got nothing four times in a row; dockerd may have their store.
    if sure is not ClientKind.CONTAINERS_IMAGE and moved <= EMPTY and past.empty >= MAX_EMPTY:
        return f"it got nothing {past.empty} times in a row already"

    # 4. dockerd's classic store: three failures of a layer freely, the fourth for a dead route. The fatal fifth, and
    # what else goes beyond, waits for 60 s of silence: a route may come back with its tunnels, but in the end a failure
    # that the user sees is better than a pull that hangs.
    failure = past.failures + 1
    freely = FATAL_FAILURE - 1 if release.cause in _DEAD else MAX_FAILURES
    if sure in (ClientKind.DOCKERD, ClientKind.UNKNOWN) and failure > freely and release.silence < SPACING:
        return f"it would be failure {failure} of this layer, and number {FATAL_FAILURE} ends the pull"

    # 5. A trickle still brings bytes: the client has to save more time than it waits before it returns.
    pause = wait(sure, failure)
    if release.cause is Cause.TRICKLE and release.gain <= pause:
        return f"it would save {release.gain:.1f} s and wait {pause:.1f} s before it returns"
    return None


class _End(NamedTuple):
    """The early end of one tunnel, and what its layer has been through with it."""

    at: float
    failures: int
    empty: int

    def may_return(self, now: float) -> bool:
        """The layer may come back now or later, whichever client it is."""
        return now - self.at < DOCKERD_PAUSE * self.failures + LATENESS

    def failures_if_back(self, now: float) -> int:
        """How often the layer has failed at most if it is back now: dockerd waits 5 s for each failure."""
        return min(self.failures, int((now - self.at + TOLERANCE) / DOCKERD_PAUSE))


class _Ends(NamedTuple):
    """The latest early ends for one client and host, oldest first."""

    ends: tuple[_End, ...] = ()
    awaited: bool = False
    """No tunnel has been opened since the newest."""


class Releases:
    """Remembers what the layers of each client have been through. All times are on the caller's clock, in seconds.

    `client` is whatever tells clients apart: an address, or a local process.
    """

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._ends: _Recent[tuple[str, str], _Ends] = _Recent(max_entries)
        self._pauses: _Recent[str, tuple[float, ...]] = _Recent(max_entries)

    def identify(self, client: str, process: str | None, *, http2: bool) -> Identity:
        """Tell who the client is, by the name of its local process (None: unknown), ALPN, and what it did before."""
        return identify(process, self._pauses.get(client) or (), http2=http2)

    def opened(self, client: str, host: str, *, now: float) -> Past:
        """A client asks for a tunnel to a host: tell what the layer on it may have been through."""
        before = self._ends.get((client, host)) or _Ends()
        ends = tuple(end for end in before.ends if end.may_return(now))
        if not ends:
            return Past()
        if before.awaited:
            pauses = (*(self._pauses.get(client) or ()), now - ends[-1].at)
            self._pauses.put(client, pauses[-CONFIRMATIONS:])
            self._ends.put((client, host), _Ends(ends))
        failures = max(end.failures_if_back(now) for end in ends)
        returned = any(kind_by_pause(now - end.at) is not ClientKind.UNKNOWN for end in ends)
        return Past(failures, empty=max(end.empty for end in ends), ended_at=ends[-1].at, returned=returned)

    def ended_early(self, client: str, host: str, past: Past, *, moved: int, now: float) -> None:
        """A tunnel got FIN or RST in the middle, from us or from upstream; `past` is what `opened` told of it.

        To be called when that is sent, before the client can be back. An ordinary end is none of these.
        """
        before = self._ends.get((client, host)) or _Ends()
        earlier = tuple(end for end in before.ends if end.may_return(now))
        newest = _End(now, past.failures + 1, past.empty + 1 if moved <= EMPTY else 0)
        self._ends.put((client, host), _Ends((*earlier, newest)[-MAX_ENDS:], awaited=True))


class _Recent[K, V]:
    """A mapping that forgets what was used least recently, beyond `size` entries."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, as used just now."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: K, value: V) -> None:
        """Set the value."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
