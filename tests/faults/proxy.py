"""The test's side of faulty_proxy.py: starts it, and passes orders on."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.e2e.rig.process import Daemon, wait_until

PROGRAM = Path(__file__).with_name("faulty_proxy.py")
START_TIMEOUT = 20.0  # seconds; a tenth of one is usual
ORDER_TIMEOUT = 5.0  # seconds; a millisecond is usual

type Launch = Callable[..., Daemon]
"""Starts a program where the proxy is to run: launch(name, *argv)."""


class Counts(NamedTuple):
    """What the proxy has done since it was last healed."""

    tunnels: int
    """Open now."""
    hits: int
    """Tunnels that misbehaved."""
    bytes: int
    """Sent to clients."""


class FaultyProxy:
    """One faulty proxy, up once made; `close()` ends it."""

    def __init__(
        self, launch: Launch, name: str, address: tuple[str, int], folder: Path, *, host: str | None = None
    ) -> None:
        """Listen at `address`, its socket for orders in `folder`; with a `host`, every tunnel leads there."""
        self.address = address
        self._launch = launch
        self._name = name
        self._orders = folder / f"{name}.sock"
        places = [*address, self._orders, *filter(None, [host])]
        self._argv = [sys.executable, str(PROGRAM), *map(str, places)]
        self.start()

    def start(self) -> None:
        """Start it, or start it again once it has ended."""
        self._orders.unlink(missing_ok=True)
        self._daemon = self._launch(self._name, *self._argv)
        self._daemon.wait_until(self._takes_orders, f"{self._name} takes orders", timeout=START_TIMEOUT)

    def _takes_orders(self) -> bool:
        try:
            self.order()
        except OSError:
            return False
        return True

    def order(self, **order: str | int | bool) -> Counts:
        """Pass one order on; the counts after it."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ORDER_TIMEOUT)
            connection.connect(str(self._orders))
            with connection.makefile("rwb") as stream:
                stream.write(json.dumps(order).encode() + b"\n")
                stream.flush()
                return Counts(**json.loads(stream.readline()))

    def heal(self) -> None:
        """Let it serve well."""
        self.order(heal=True)

    def signal(self, number: signal.Signals) -> None:
        """Send it one signal."""
        self._daemon.signal(number)

    def kill(self) -> None:
        """End it with SIGKILL, as the kernel does when memory runs out."""
        self.signal(signal.SIGKILL)
        wait_until(lambda: not self._daemon.running, f"{self._name} is gone", timeout=ORDER_TIMEOUT)

    def close(self) -> None:
        """End it."""
        self._daemon.stop()
