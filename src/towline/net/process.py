"""Who are the clients: the names of the local processes at the other ends of connections to our listener (Linux).

    both ends -> sock_diag(7): the inode of the client's socket -> /proc/PID/fd: the process that holds it -> its name

Several are looked for in one search: the layers of an image begin together. With 32 tunnels as many searches at once,
whose threads wait for each other, cost as much as moving 2 GB.

CONNECT does not tell podman from containerd (both say Go-http-client, clients.md A.7), yet they want different ends
(A.8). The answer is None wherever it is not known: the client is elsewhere or gone, it belongs to another user and
Towline has no CAP_SYS_PTRACE, the platform is another. Then only a client's conduct tells its kind (E).

A client in another network namespace of this machine, a container on a bridge, counts as elsewhere. It could be looked
for in /proc/PID/net/tcp of every container; that was rejected, since addresses repeat between such networks, so that a
match may be a stranger, and since an unknown client is served well too. A container that shares our network but not our
/proc, such as a sidecar, has a socket here and no process: None again.

Cost, measured on two busy cores: 0.03 to 0.05 ms for the socket (reading /proc/net/tcp: 8 to 33 ms), which is all that
a client elsewhere costs. Then, among 130 processes, 1.5 ms for a registry client and 5 ms for one that is looked at
last (psutil.net_connections: 60 ms); among 1600 processes 2.4 and 65 ms.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from os import listdir, readlink

from towline.core.clients import PROCESSES
from towline.net.edge import brief
from towline.types import Address, IPAddress

REGISTRY_CLIENTS = frozenset(PROCESSES)
"""Who is looked at first, so that the usual case opens a handful of folders (the clients of clients.md A)."""

MAX_DESCRIPTORS = 50_000
"""Descriptors of other processes that one search looks at, at 3 microseconds each. Past them the client is unknown."""

_RESTARTED = b"-in-a-user-namespace"
"""What containers/storage (pkg/unshare) adds to argv[0] of a skopeo or buildah that it restarts without root."""

_NETLINK_SOCK_DIAG = 4  # linux/netlink.h
_SOCK_DIAG_BY_FAMILY = 20  # linux/sock_diag.h: the type of the request and of its answer
_NLM_F_REQUEST = 1  # linux/netlink.h; without NLM_F_DUMP it asks for one socket
_ALL_STATES = 0xFFFF_FFFF
_NO_COOKIE = (1 << 64) - 1  # linux/inet_diag.h, INET_DIAG_NOCOOKIE twice: whichever socket has these ends
_TCP_LISTEN = 10  # linux/tcp_states.h

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBxI2s2s16s16sIQ")
"""inet_diag_req_v2: family, protocol, extensions, states; its inet_diag_sockid: both ports, both addresses, interface,
cookie."""
_ANSWER = struct.Struct("=xBxx48x16xI")  # inet_diag_msg: state, inode


type Ends = tuple[Address, Address]
"""Of a connection as the accepted socket tells them: the client's (getpeername) and ours (getsockname). IPv4 ones also
in the form that IPv6 maps them to."""


async def processes_of(connections: Sequence[Ends]) -> list[str | None]:
    """The name of the process that holds the client's end, for each connection; None where it is not known.

    The search runs in a thread, to its end even where its caller is cancelled. Nothing is raised.
    """
    if sys.platform == "linux":
        with suppress(OSError, RuntimeError):  # no netlink in this sandbox, no descriptor or no thread left
            return await asyncio.to_thread(_processes_of, connections)
    return [None] * len(connections)


def _processes_of(connections: Sequence[Ends]) -> list[str | None]:
    inodes = [_inode(*ends) for ends in connections]
    holders = _holders({f"socket:[{inode}]" for inode in inodes if inode})
    return [holders.get(f"socket:[{inode}]") for inode in inodes]


def _inode(client: Address, listener: Address) -> int:
    """The inode of the socket here whose own end is `client` and whose other end is `listener`; 0 where there is none.

    It is 0 too for a socket that no process holds any more. Raises OSError where the kernel cannot be asked.
    """
    source, destination = _unmapped(client[0]), _unmapped(listener[0])
    family = socket.AF_INET if source.version == 4 else socket.AF_INET6
    ports = client[1].to_bytes(2), listener[1].to_bytes(2)
    request = _REQUEST.pack(
        family, socket.IPPROTO_TCP, 0, _ALL_STATES, *ports, source.packed, destination.packed, 0, _NO_COOKIE
    )
    header = _HEADER.pack(_HEADER.size + _REQUEST.size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as netlink:
        netlink.setblocking(False)  # the kernel answers before send returns
        netlink.send(header + request)
        reply = netlink.recv(4096)
    _, kind, *_ = _HEADER.unpack_from(reply)
    if kind != _SOCK_DIAG_BY_FAMILY:  # NLMSG_ERROR: no such socket
        return 0
    state, inode = _ANSWER.unpack_from(reply, _HEADER.size)
    # Without a connection the kernel offers the listener at the client's address, as it would to a SYN.
    return 0 if state == _TCP_LISTEN else inode


def _unmapped(host: str) -> IPAddress:
    """The address that is asked for: sock_diag finds an IPv6 socket's IPv4 connection under the IPv4 addresses."""
    ip = ipaddress.ip_address(host)
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


def _holders(links: Collection[str]) -> dict[str, str]:
    """The names of the processes that have descriptors with these links in /proc, as far as they are found."""
    holders: dict[str, str] = {}
    if not links:
        return holders
    seen = ((name, found) for pid, name in _processes() for found in _links(pid))
    for name, found in islice(seen, MAX_DESCRIPTORS):
        if found in links and (text := brief(name)):
            holders[found] = text
            if len(holders) == len(links):
                break
    return holders


def _processes() -> Iterator[tuple[str, str]]:
    """Number and name of every process, registry clients first."""
    others = []
    for pid in filter(str.isdigit, listdir("/proc")):  # noqa: PTH208 - here and below: pathlib doubles the cost
        name = _name(pid)
        if name in REGISTRY_CLIENTS:
            yield pid, name
        else:
            others.append((pid, name))
    yield from others


def _name(pid: str) -> str:
    """What a process is called; "" once it has gone.

    Its comm is the name of the file that it executes. One that restarts itself without root executes a descriptor
    instead, and shows as `exe` (podman's pkg/rootless), as a number, or since Linux 6.14 as the file behind it, which
    may be a memfd (containers/storage's pkg/unshare). Then argv[0] tells.
    """
    comm = _read(f"/proc/{pid}/comm").rstrip(b"\n")
    if comm == b"exe" or comm.isdigit() or comm.startswith(b"memfd:"):
        path, _, _ = _read(f"/proc/{pid}/cmdline").partition(b"\0")
        comm = path.rpartition(b"/")[2].removesuffix(_RESTARTED)
    return comm.decode(errors="replace")


def _links(pid: str) -> Iterator[str]:
    """What the descriptors of a process are, as far as they may be looked at."""
    folder = f"/proc/{pid}/fd"
    with suppress(OSError):  # it has gone, or belongs to another user
        for descriptor in listdir(folder):  # noqa: PTH208
            with suppress(OSError):  # closed since it was listed
                yield readlink(f"{folder}/{descriptor}")  # noqa: PTH115


def _read(path: str) -> bytes:
    """The beginning of a file in /proc, b"" where there is none."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.read(4096)
    except OSError:
        return b""
