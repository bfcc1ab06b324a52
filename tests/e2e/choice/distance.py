"""Makes links long: carries packets between pairs of TUN devices, each packet late. Not every kernel has netem for it.

A program of the standard library alone: distance.py ORDERS LINK ..., where ORDERS is the descriptor of a SEQPACKET
socket, and a LINK is NAME:NEAR:FAR, the descriptors of its two devices. An order is one JSON object, and is answered
with what the link has done so far:

    {"link": "wide", "delay": 0.03}     seconds that a packet takes, each way
    {"link": "wide", "cut": true}       nothing gets through, and nothing says so
    {"link": "wide"}                    ask only

    {"carried": packets, "dropped": packets, "late": the most seconds that one was late beyond its delay}

Packets of one direction stay in order, as they do on one wire. What waits is bounded: a long link holds so much and no
more, and what a cut link is given is lost. The program ends when the other end of the orders is closed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

PACKET = 2048  # bytes of one read: devices have the usual MTU of 1500
READS = 64  # packets that one direction may hand over before the others get their turn
WAITING = 4096  # packets under way in one direction: 6 MB, a second at 48 Mbit/s
ORDER = 4096  # bytes of an order at most
NICENESS = -10  # a late program would be a longer link


@dataclass(slots=True)
class Link:
    """Two directions with one delay."""

    delay: float = 0.0
    cut: bool = False
    carried: int = 0
    dropped: int = 0
    late: float = 0.0


@dataclass(slots=True)
class Direction:
    """Packets under way from one device to the other."""

    link: Link
    source: int
    sink: int
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)
    """When each is due, and the packet."""

    def take(self, now: float) -> None:
        """Read what left by the source."""
        for _ in range(READS):
            try:
                packet = os.read(self.source, PACKET)
            except BlockingIOError:
                return
            if self.link.cut or len(self.waiting) >= WAITING:
                self.link.dropped += 1
            else:
                self.waiting.append((now + self.link.delay, packet))

    def deliver(self, now: float) -> None:
        """Write what is due to the sink."""
        while self.waiting and self.waiting[0][0] <= now:
            due, packet = self.waiting.popleft()
            self.link.late = max(self.link.late, now - due)
            if self.link.cut:
                self.link.dropped += 1
                continue
            self.link.carried += 1
            with contextlib.suppress(OSError):  # a device that is down takes nothing
                os.write(self.sink, packet)


class Distance:
    """All links, and the loop that moves their packets."""

    def __init__(self, orders: socket.socket, devices: dict[str, tuple[int, int]]) -> None:
        self._orders = orders
        self._links = {name: Link() for name in devices}
        self._directions = {
            source: Direction(self._links[name], source, sink)
            for name, (near, far) in devices.items()
            for source, sink in ((near, far), (far, near))
        }
        self._poll = select.epoll()
        for descriptor in (orders.fileno(), *self._directions):
            self._poll.register(descriptor, select.EPOLLIN)

    def run(self) -> None:
        """Until the orders end."""
        while True:
            for descriptor, _ in self._poll.poll(self._until_due()):
                if descriptor in self._directions:
                    self._directions[descriptor].take(time.monotonic())
                elif not self._obey():
                    return
            now = time.monotonic()
            for direction in self._directions.values():
                direction.deliver(now)

    def _until_due(self) -> float | None:
        """Seconds until the next packet is due; None while none is under way."""
        due = [direction.waiting[0][0] for direction in self._directions.values() if direction.waiting]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _obey(self) -> bool:
        """Take one order; False when there will be no more."""
        text = self._orders.recv(ORDER)
        if not text:
            return False
        order: dict[str, Any] = json.loads(text)
        link = self._links[order["link"]]
        link.delay = order.get("delay", link.delay)
        link.cut = order.get("cut", link.cut)
        counts = {"carried": link.carried, "dropped": link.dropped, "late": link.late}
        self._orders.send(json.dumps(counts).encode())
        return True


def main() -> None:
    """Carry packets."""
    os.nice(NICENESS)
    orders, *links = sys.argv[1:]
    devices = {name: (int(near), int(far)) for name, near, far in (link.split(":") for link in links)}
    with socket.socket(fileno=int(orders)) as taken:
        Distance(taken, devices).run()


if __name__ == "__main__":
    main()
