"""The gate between accept and the request: how many connections may hold no tunnel, and who goes where there are more.

    enter     a connection was accepted, or has been refused and lingers
    leave     it holds a tunnel (limits.tunnels counts it from there on), or is gone

core/waiting.py chooses who goes. That one gets a fixed 503 and is closed at once: it has sent no request for
longer than all others, or had its answer. `mitmdump -s` accepts by itself: only those that linger are counted there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from towline.core.waiting import Waiting

CROWDED = (
    b"HTTP/1.1 503 towline: too many connections wait (limits.heads)\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


class Gate:
    """The connections of all listeners that hold no tunnel."""

    def __init__(self, limit: Callable[[], int], turned_away: Callable[[str], object]) -> None:
        """`limit` gives limits.heads as it is now; `turned_away` is told each client that has to go."""
        self._limit = limit
        self._turned_away = turned_away
        self._waiting: Waiting[asyncio.Transport] = Waiting()

    def enter(self, connection: asyncio.Transport) -> None:
        """Let it wait, and turn another away where that is one too many."""
        goes = self._waiting.enter(connection, _client_of(connection), limit=self._limit())
        if goes is not None:
            self._turned_away(_client_of(goes))
            with contextlib.suppress(RuntimeError):  # it has had its answer, and FIN
                goes.write(CROWDED)
            goes.close()

    def leave(self, connection: asyncio.Transport) -> None:
        """It waits no more."""
        self._waiting.leave(connection)


def _client_of(connection: asyncio.Transport) -> str:
    peer = connection.get_extra_info("peername")  # None where the client was gone before it was accepted
    return str(peer[0]) if peer else "unknown"
