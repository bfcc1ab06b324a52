"""What the ends of a tunnel are called: from what its two directions have come to, and what the kernel reported."""

from __future__ import annotations

import errno
import ssl
from enum import StrEnum
from typing import NamedTuple

from towline.net.direction import Direction


class End(StrEnum):
    """Which side of a tunnel ended first, and how. Timeouts are the kernel's: keepalive, or bytes not acknowledged."""

    UPSTREAM_FIN = "upstream fin"
    UPSTREAM_RESET = "upstream reset"
    UPSTREAM_TIMEOUT = "upstream timeout"
    UPSTREAM_ERROR = "upstream error"
    CLIENT_FIN = "client fin"
    CLIENT_RESET = "client reset"
    CLIENT_TIMEOUT = "client timeout"
    CLIENT_ERROR = "client error"
    RELEASED = "released"
    IDLE_HALF_CLOSED = "idle half-closed"


class Ending(NamedTuple):
    """What ended a tunnel."""

    first: End
    detail: str = ""

    @property
    def reason(self) -> str:
        """A phrase that begins with `first`."""
        return f"{self.first}: {self.detail}" if self.detail else str(self.first)


def first_end(up: Direction, down: Direction) -> Ending | None:
    """The first end, where a direction has come to one. Called after every turn, so there is seldom more than one."""
    if error := up.source_error or down.sink_error:
        return _failure("client", error)
    if error := down.source_error or up.sink_error:
        return _failure("upstream", error)
    if down.source_ended:
        return Ending(End.UPSTREAM_FIN)
    if up.source_ended:
        return Ending(End.CLIENT_FIN)
    return None


_RESETS = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED})
"""RST: seen by a read, by a write after it was seen, and on BSD."""
_TIMEOUTS = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH})
"""Linux reports the last ICMP error in place of ETIMEDOUT when it gives a connection up (tcp(7))."""


def _failure(side: str, error: OSError) -> Ending:
    """Name what the kernel or OpenSSL reported on a `side`: client or upstream."""
    if isinstance(error, ssl.SSLEOFError):
        return Ending(End.UPSTREAM_FIN, "without close_notify")
    how = "reset" if error.errno in _RESETS else "timeout" if error.errno in _TIMEOUTS else "error"
    return Ending(End(f"{side} {how}"), error.strerror or str(error))
