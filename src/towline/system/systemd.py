"""systemd's two protocols for services: sockets that it passes, and news that it is sent. No library, no other program.

    passed_sockets(environ, pid)   listeners that are open before Towline is (sd_listen_fds(3), systemd.socket(5))
    Supervisor.of(environ)         READY=1 and its like over a datagram socket (sd_notify(3))

Both are told by environment variables, which are taken out of `environ`: they are meant for this process alone.
"""

from __future__ import annotations

import socket
import time
from collections.abc import MutableMapping
from typing import Self

import structlog

from towline.errors import ListenError
from towline.types import Address

log = structlog.get_logger("towline")

FIRST = 3  # the first descriptor that is passed: SD_LISTEN_FDS_START


def passed_sockets(environ: MutableMapping[str, str], *, pid: int) -> dict[Address, socket.socket]:
    """The listening sockets that were passed to the process `pid`, by where they listen; the caller owns them.

    Variables that name another process are left over from a parent and mean nothing. Raises ListenError for ones that
    mean us and are wrong, and for a socket that no proxy can listen on.
    """
    owner, count, _ = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if owner != str(pid):
        return {}
    if not count.isdecimal():
        raise ListenError(f"LISTEN_FDS is {count!r} and no number\nhint: it is set by whoever passes sockets")
    sockets = [_listener(descriptor) for descriptor in range(FIRST, FIRST + int(count))]
    return {sock.getsockname()[:2]: sock for sock in sockets}


def _listener(descriptor: int) -> socket.socket:
    """The socket behind a descriptor, which programs that we start will not inherit. Raises ListenError."""
    try:
        sock = socket.socket(fileno=descriptor)
        sock.set_inheritable(False)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ListenError(f"descriptor {descriptor} (LISTEN_FDS) is not a socket: {error.strerror}") from error
    if not listens or sock.family not in (socket.AF_INET, socket.AF_INET6):
        sock.close()
        hint = "hint: in the socket unit, ListenStream= takes an address and a port, and Accept= is no"
        raise ListenError(f"descriptor {descriptor} (LISTEN_FDS) does not listen for TCP connections\n{hint}")
    sock.setblocking(False)
    return sock


class Supervisor:
    """Tells the service manager how Towline fares; where there is none, or it does not listen, nobody."""

    def __init__(self, address: str | None) -> None:
        """`address` is the path of its socket; a leading `@` stands for the NUL of an abstract one (unix(7))."""
        self._address = address

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> Self:
        """The one that NOTIFY_SOCKET names."""
        return cls(environ.pop("NOTIFY_SOCKET", None))

    def ready(self) -> None:
        """Listening, also after a reload."""
        self._tell("READY=1", "STATUS=ready")

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now}", "STATUS=reloading")

    def stopping(self, seconds: float) -> None:
        """Draining, which takes so long at most: TimeoutStopSec= need not know limits.drain."""
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}", "STATUS=draining")

    def _tell(self, *assignments: str) -> None:
        if self._address is None:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)  # a service manager that does not read must not stop the tunnels
                sock.sendto("\n".join(assignments).encode(), address)
        except OSError as error:
            log.warning("not_notified", socket=self._address, what=assignments[0], why=error.strerror)
