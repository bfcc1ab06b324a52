"""One attack as bytes: what is sent, what is safe; and what was seen when it was tried on a proxy.

What makes an attempt unsafe, whatever the proxy:

    serves         answers 2xx where it should refuse
    strays         sends a SYN to where no registry is, be it refused afterwards or not
    passes it on   lets the registry see what should have been refused
    hangs          neither answers nor closes by HANGS, nor by its own timer where the row waits for that
    stays open     refuses, and leaves the connection open: what follows could be read as another request
    repeats        has in its answer what the row says is secret
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from tests.attacks.world import World

HANGS = 12.0  # seconds without an answer: what faults.md gives a whole head, and two more
LINGERS = 1.0  # seconds within which a refused connection is ended; a FIN behind the answer takes none
TUNNEL = 0.3  # seconds in which what goes through a tunnel has arrived
FLOOD = 50 << 20  # bytes of an endless head
DRIP = 0.5  # seconds between two bytes of a slow head


class Safe(Enum):
    """What may come of a row."""

    REFUSED = "refused"
    SERVED = "served"
    """A tunnel to the registry, with all bytes behind the head, once."""
    EITHER = "served or refused"


@dataclass(frozen=True, slots=True)
class Row:
    """One attempt. `number` is the attack's in table.py."""

    number: int
    name: str
    sent: bytes
    status: int = 400
    """Towline's answer."""
    code: str = "bad_request"
    """The code that Towline logs and counts it under; "" where it is no refusal."""
    safe: Safe = Safe.REFUSED
    secret: bytes = b""
    """What no answer may have in it."""
    flood: bytes = b""
    """Sent behind `sent` again and again, FLOOD bytes in all, until the proxy has enough."""
    drips: bool = False
    """`sent` comes byte by byte."""
    behind: bytes = b""
    """The bytes behind the head, which the registry gets where the row is served."""

    @property
    def is_slow(self) -> bool:
        """Whether a proxy that does it right waits for its head timer."""
        return self.status == 408

    def __str__(self) -> str:
        return f"{self.number} {self.name}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one attempt led to."""

    client: tuple[str, int]
    status: int | None
    """None where there was no answer."""
    answer: bytes
    is_closed: bool
    seconds: float
    strays: int
    arrived: tuple[tuple[str, bytes], ...]
    """The canary's visits: at which address, with which bytes."""

    def faults(self, row: Row) -> Iterator[str]:
        """What is unsafe about it; nothing where it is safe."""
        is_served = self.status is not None and 200 <= self.status < 300
        if is_served and row.safe is Safe.REFUSED:
            yield "serves"
        if self.strays:
            yield "strays"
        if self.status is None and not self.is_closed:
            yield "hangs"
        if self.status is not None and not is_served and not self.is_closed:
            yield "stays open"
        if row.secret and row.secret in self.answer:
            yield "repeats"
        if row.safe is Safe.REFUSED and not is_served and any(data for _, data in self.arrived):
            yield "passes it on"
        if row.safe is not Safe.REFUSED and is_served and [data for _, data in self.arrived] != [row.behind]:
            yield "loses or repeats bytes"
        if row.safe is Safe.SERVED and not is_served:
            yield "refuses"


def attempt(world: World, row: Row, *, count: bool = True) -> Seen:
    """Try one row; `count=False` leaves the SYN counter alone, which takes a process each time."""
    visits, strays = len(world.visits), world.strays() if count else 0
    with world.connect() as sock:
        client = sock.getsockname()[:2]
        began = time.monotonic()
        _send(sock, row)
        answer, is_closed = _receive(sock, began + HANGS)
        seconds = time.monotonic() - began
        arrived = tuple((visit.address, bytes(visit.data)) for visit in world.visits[visits:])
    strayed = world.strays() - strays if count else 0
    return Seen(client, _status(answer), answer, is_closed, seconds, strayed, arrived)


def _send(sock: socket.socket, row: Row) -> None:
    """Send the row; a proxy that has enough may close meanwhile."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        if row.drips:
            sock.settimeout(DRIP)
            for byte in row.sent:
                sock.sendall(bytes([byte]))
                with contextlib.suppress(TimeoutError):
                    if len(sock.recv(1, socket.MSG_PEEK)) <= 1:  # an answer, or its end
                        return
        sock.settimeout(HANGS)
        sock.sendall(row.sent)
        for _ in range(FLOOD // len(row.flood) if row.flood else 0):
            sock.sendall(row.flood)


def _receive(sock: socket.socket, deadline: float) -> tuple[bytes, bool]:
    """All that comes until the end, a tunnel or the deadline; and whether the proxy closed."""
    answer = bytearray()
    while (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            data = sock.recv(65536)
        except TimeoutError:
            break
        except ConnectionError:
            return bytes(answer), True
        if not data:
            return bytes(answer), True
        if not answer:
            is_tunnel = data.startswith(b"HTTP/1.") and data[9:10] == b"2"
            deadline = time.monotonic() + (TUNNEL if is_tunnel else LINGERS)
        answer += data
    return bytes(answer), False


def _status(answer: bytes) -> int | None:
    words = answer[:32].split(maxsplit=2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else None
