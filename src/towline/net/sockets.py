"""TCP sockets that leave this machine the way a route says, and the options that notice a dead peer.

The way out of a RouteSpec is up to three socket options, set before connect(2):

    interface    SO_BINDTODEVICE (Linux), IP_BOUND_IF (macOS): packets leave by this interface alone
    source       bind(2) to this local address: policy routing (`ip rule from`) chooses by it
    mark         SO_MARK (Linux): policy routing (`ip rule fwmark`) chooses by it
"""

from __future__ import annotations

import errno
import socket
import sys

from towline.errors import DialError
from towline.types import Blame, OutcomeKind, Phase, RouteSpec

KEEPALIVE_IDLE = 15  # seconds of silence before the first probe
KEEPALIVE_INTERVAL = 5  # seconds between probes
KEEPALIVE_PROBES = 3  # unanswered probes that end the connection: 15 + 3 * 5 = 30 s
USER_TIMEOUT = 120.0
"""Seconds that bytes sent upstream may stay unacknowledged, or unread (see tune_client); the kernel alone takes some 15
minutes. Less would cut a push to a registry whose disk is busy; a dead route is noticed long before (watching.py) where
there is another. Where this option is set, it takes the place of the count of keepalive probes (tcp(7))."""

_IP_BOUND_IF = 25  # <netinet/in.h> on macOS; the socket module has no name for it
_IPV6_BOUND_IF = 125  # <netinet6/in6.h> on macOS


def tune(sock: socket.socket, *, user_timeout: float = USER_TIMEOUT) -> None:
    """Send small segments at once, and let the kernel end a connection whose peer is gone, within `user_timeout` s.

    Options that the platform lacks are left out. Raises OSError on a socket that is not TCP.
    """
    tune_client(sock)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(user_timeout * 1000))  # milliseconds


def tune_client(sock: socket.socket) -> None:
    """The same without a user timeout, for the client's side.

    A client that does not read is not gone, but Linux ends it by that option all the same: with 3 s set, a peer that
    acknowledged every window probe and read nothing was cut off after 3.6 s (measured on 6.18; without it, held).
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE),
        ("TCP_KEEPALIVE", KEEPALIVE_IDLE),  # macOS's name for the same
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
    ):
        if (option := getattr(socket, name, None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def open_socket(family: int, spec: RouteSpec, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A non-blocking TCP socket (or of another `kind`) that leaves by interface, source and mark of `spec`.

    The caller owns it. Raises DialError where the way out is not there or not allowed, OSError where no socket can be
    had at all.
    """
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        apply_way_out(sock, spec)
    except BaseException:
        sock.close()
        raise
    return sock


def apply_way_out(sock: socket.socket, spec: RouteSpec) -> None:
    """Set interface, source and mark of `spec` on a socket that is not connected yet.

    Raises DialError: one that blames the route where the interface or address is gone, and one that blames this machine
    where it lacks the right or the option.
    """
    if spec.interface is not None:
        _bind_to_interface(sock, spec.interface)
    if spec.mark is not None:
        _set_mark(sock, spec.mark)
    if spec.source is not None:
        try:
            sock.bind((str(spec.source), 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            raise _gone(f"source {spec.source} is not an address of this machine") from error


def _bind_to_interface(sock: socket.socket, interface: str) -> None:
    try:
        if sys.platform == "darwin":
            index = socket.if_nametoindex(interface)
            if sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_BOUND_IF, index)
            else:
                sock.setsockopt(socket.IPPROTO_IP, _IP_BOUND_IF, index)
        elif hasattr(socket, "SO_BINDTODEVICE"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        else:
            raise _not_possible("this platform cannot bind a connection to an interface: use source instead")
    except PermissionError as error:  # Linux before 5.7
        raise _not_possible(f"interface {interface} needs CAP_NET_RAW: run Towline with it") from error
    except OSError as error:
        if error.errno not in {errno.ENODEV, errno.ENXIO}:
            raise
        raise _gone(f"no interface {interface}") from error


def _set_mark(sock: socket.socket, mark: int) -> None:
    if not hasattr(socket, "SO_MARK"):
        raise _not_possible("only Linux has routing marks: use interface or source instead")
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    except PermissionError as error:
        raise _not_possible(f"mark {mark:#x} needs CAP_NET_ADMIN: run Towline with it") from error


def _gone(detail: str) -> DialError:
    return DialError(OutcomeKind.UNREACHABLE, Phase.CONNECT, Blame.ROUTE, detail)


def _not_possible(detail: str) -> DialError:
    return DialError(OutcomeKind.LOCAL, Phase.CONNECT, Blame.LOCAL, detail)
