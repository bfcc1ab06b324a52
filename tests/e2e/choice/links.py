"""Three links between a near and a far side, each with a delay and a rate that can be changed while traffic flows.

    link    round trip   rate        is the best for
    quick    20 ms        8 Mbit/s   api and auth: four round trips and a few KB
    wide     60 ms       40 Mbit/s   blob: MB
    poor    150 ms        2 Mbit/s   nothing

A link is a TUN device on each side. The rate is that of what the far side sends, by a token bucket (tbf); the delay is
distance.py's. With a tenth of its rate `wide` is half as fast as `quick`, and with ten times its delay `quick` is
slower for api than `wide`: what was second best is then clearly the best.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.e2e.rig.namespace import Namespace
from tests.e2e.rig.process import undone_on_failure

PROGRAM = Path(__file__).with_name("distance.py")
ORDER_TIMEOUT = 5.0  # seconds; a millisecond is usual
ORDER = 4096  # bytes of an answer at most
QUEUE = "25ms"  # how long a full token bucket holds back what is sent: short, so that two transfers barely meet
BURST = "8k"  # bytes that may pass at once: little beside the tens of KiB of a probe
DEVICE_QUEUE = 1000  # packets that wait for distance.py to read them


class Shape(NamedTuple):
    """What a link is like."""

    round_trip: float
    """Seconds."""
    megabits: float
    """A second, toward the near side."""


class Counts(NamedTuple):
    """What distance.py has done for a link."""

    carried: int
    """Packets, as the next."""
    dropped: int
    late: float
    """The most seconds that a packet was late beyond its delay."""


SHAPES = {"quick": Shape(0.020, 8.0), "wide": Shape(0.060, 40.0), "poor": Shape(0.150, 2.0)}


class Links:
    """All links of two sides, up once made; `close()` ends the program that carries their packets."""

    def __init__(self, near: Namespace, far: Namespace) -> None:
        self._far = far
        self._shapes = dict(SHAPES)
        self._lock = threading.Lock()
        self._owned = ExitStack()
        with undone_on_failure(self._owned):
            for side in (near, far):
                _prepare(side)
            self._start(near)
            for number, name in enumerate(SHAPES, start=1):
                _bring_up(near, name, f"10.77.{number}.1")
                _bring_up(far, name, f"10.77.{number}.2")
                # SO_BINDTODEVICE looks for a route that leaves by the device: one of a lower preference will do.
                near.ip(f"route add default dev {name} metric {number}")
                self._limit(name)
                self._order(name, delay=self._shapes[name].round_trip / 2)

    def _start(self, near: Namespace) -> None:
        """Open the devices, and start what carries packets between them."""
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._orders.settimeout(ORDER_TIMEOUT)
        self._owned.enter_context(self._orders)
        with ExitStack() as passed:
            passed.enter_context(theirs)
            devices = {name: (near.open_tun(name), self._far.open_tun(name)) for name in SHAPES}
            descriptors = [descriptor for pair in devices.values() for descriptor in pair]
            for descriptor in descriptors:
                passed.callback(os.close, descriptor)
            argv = [f"{name}:{near}:{far}" for name, (near, far) in devices.items()]
            command = (sys.executable, str(PROGRAM), str(theirs.fileno()), *argv)
            program = near.start("distance", *command, pass_fds=[theirs.fileno(), *descriptors])
        self._owned.enter_context(program)

    def shape(self, name: str) -> Shape:
        """What the link is like now."""
        return self._shapes[name]

    def change(self, name: str, *, round_trip: float | None = None, megabits: float | None = None) -> None:
        """Make it longer, shorter, slower or faster, now; what is under way comes as it would have."""
        shape = self._shapes[name]
        if round_trip is not None:
            self._shapes[name] = shape = shape._replace(round_trip=round_trip)
            self._order(name, delay=round_trip / 2)
        if megabits is not None:
            self._shapes[name] = shape._replace(megabits=megabits)
            self._limit(name)

    def cut(self, name: str, *, off: bool) -> None:
        """Let nothing through, or all again."""
        self._order(name, cut=off)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Whatever becomes of them in the body, they are as they were at first after it."""
        try:
            yield
        finally:
            self.restore()

    def restore(self) -> None:
        """Make all of them what they were at first."""
        for name, shape in SHAPES.items():
            self.cut(name, off=False)
            self.change(name, **shape._asdict())

    def counts(self, name: str) -> Counts:
        """What was done for this link so far."""
        return self._order(name)

    def _limit(self, name: str) -> None:
        queue = ("tbf", "rate", f"{round(self._shapes[name].megabits * 1000)}kbit", "burst", BURST, "latency", QUEUE)
        self._far.run("tc", "qdisc", "replace", "dev", name, "root", *queue)

    def _order(self, name: str, **order: float | bool) -> Counts:
        with self._lock:
            self._orders.send(json.dumps({"link": name, **order}).encode())
            return Counts(**json.loads(self._orders.recv(ORDER)))

    def close(self) -> None:
        """End what carries the packets; the devices go with their sides."""
        self._owned.close()


def _prepare(side: Namespace) -> None:
    settings = {
        # Three links lead to the same addresses: a strict reverse-path filter would drop what comes over two.
        "net.ipv4.conf.all.rp_filter": 0,
        "net.ipv4.conf.default.rp_filter": 0,
        "net.ipv6.conf.default.disable_ipv6": 1,  # else devices look for routers of their own
    }
    side.run("sysctl", "-qw", *(f"{key}={value}" for key, value in settings.items()))


def _bring_up(side: Namespace, name: str, address: str) -> None:
    side.ip(f"address add {address}/24 dev {name}", f"link set {name} txqueuelen {DEVICE_QUEUE} up")
