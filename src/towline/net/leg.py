"""The upstream leg of a tunnel: by which way it leaves this machine, and whether anybody is still there.

A network that changes and a machine that sleeps leave connections behind that look alive: nothing tells their kernel
that the other side, or a NAT between, has forgotten them. `hurry` makes it ask.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import sys
from typing import NamedTuple

from towline.net.direction import unacknowledged
from towline.net.sockets import tune
from towline.types import IPAddress

HURRIED = 3
"""Seconds that a peer gets to show that it is there: two round trips, if a packet is lost, over any usable route."""

_SO_BINDTOIFINDEX = 62  # <asm-generic/socket.h>, Linux 5.1; the socket module has no name for it


class Way(NamedTuple):
    """How a connection leaves this machine."""

    address: IPAddress
    """Its own address."""
    interface: int
    """The number of the interface that it is bound to; 0 where it is bound to none."""


class Leg:
    """One upstream connection, which stays its owner's."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @property
    def way(self) -> Way | None:
        """By which way it leaves; None where that cannot be told. Asked of the kernel, as few ever want to know."""
        return _way_of(self._sock)

    def hurry(self) -> None:
        """Have the kernel ask the peer now, and end the connection where none answers in HURRIED s; `calm` undoes it.

        Not while bytes are on their way to it: they find out by themselves, and would be cut short.
        """
        with contextlib.suppress(OSError):  # it has just ended
            if unacknowledged(self._sock):
                return
            for name, value in (
                ("TCP_USER_TIMEOUT", HURRIED * 1000),  # milliseconds; counted from the peer's last word
                ("TCP_KEEPINTVL", HURRIED),
                ("TCP_KEEPCNT", 1),
                ("TCP_KEEPALIVE", 1),  # macOS's name for the next
                ("TCP_KEEPIDLE", 1),  # the last: a shorter one than the silence so far has the kernel ask at once
            ):
                if (option := getattr(socket, name, None)) is not None:
                    self._sock.setsockopt(socket.IPPROTO_TCP, option, value)

    def calm(self) -> None:
        """Give the peer its usual time again."""
        with contextlib.suppress(OSError):
            tune(self._sock)


def _way_of(sock: socket.socket) -> Way | None:
    try:
        address = ipaddress.ip_address(sock.getsockname()[0].partition("%")[0])
    except (OSError, ValueError, IndexError):  # it is closed, or none of the Internet's
        return None
    interface = 0
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            interface = sock.getsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX)
    return Way(address, interface)
