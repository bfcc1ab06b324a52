"""Hears from the kernel that links, addresses, routes or rules have changed (Linux, rtnetlink(7)).

What has changed is not read from the messages: they only say that it is time to look (machine.py). So none has to be
parsed, a burst of thousands costs one look, and messages that the kernel had to drop (ENOBUFS) cost nothing.

pyroute2 was rejected: it does all that is not needed here, and what is needed are these lines.
"""

from __future__ import annotations

import errno
import socket
import sys

GROUPS = (
    0x1  # RTMGRP_LINK; these names are linux/rtnetlink.h's
    | 0x10  # RTMGRP_IPV4_IFADDR
    | 0x40  # RTMGRP_IPV4_ROUTE
    | 0x100  # RTMGRP_IPV6_IFADDR
    | 0x400  # RTMGRP_IPV6_ROUTE
    | 1 << 7  # RTNLGRP_IPV4_RULE: wg-quick and NetworkManager lead by rules
    | 1 << 18  # RTNLGRP_IPV6_RULE
)
MAX_MESSAGE = 65536  # bytes; what is longer is cut off, and is not read anyway
MAX_DRAINED = 4096  # messages that are dropped at once; where more come meanwhile, the next look drops them


def subscribe() -> socket.socket | None:
    """A non-blocking socket that becomes readable when something changes; None where there is none to be had."""
    if sys.platform != "linux":
        return None
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    except OSError:  # a sandbox without AF_NETLINK (systemd's RestrictAddressFamilies, gVisor)
        return None
    try:
        sock.bind((0, GROUPS))
    except OSError:
        sock.close()
        return None
    return sock


def drain(sock: socket.socket) -> bool:
    """Drop what has come. False where the socket is of no use any more."""
    for _ in range(MAX_DRAINED):
        try:
            sock.recv(MAX_MESSAGE)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # messages were lost, which is as good as one more
                return False
    return True
