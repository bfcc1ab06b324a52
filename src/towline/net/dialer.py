"""The one-method interface of a way out: `dial` a target over one route before a deadline.

Three ways implement it (direct.py, connect.py, socks.py) and one suite holds them all: tests/conformance.
The rules a dialer keeps:

* one owner: the dialer owns its socket until it returns it, and closes it on every other way out, cancellation too;
* one deadline: it returns or raises by `deadline`, whatever its peer does;
* one vocabulary: whatever goes wrong is a DialError with kind, phase and blame; no foreign exception leaves;
* no byte lost: what the peer sent past its handshake is handed on in `early`.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Protocol

from towline.types import IPAddress, Target


@dataclass(slots=True)
class Dialed:
    """A connection to the target, established end to end. Its receiver owns and closes `sock`."""

    sock: socket.socket
    """Non-blocking and connected; an ssl.SSLSocket where the way to the proxy is TLS."""
    peer: str
    """The address reached, `host:port`: the target's for direct, else the proxy's."""
    early: bytes = b""
    """Bytes that came after the proxy's handshake and belong to the target."""
    address: IPAddress | None = None
    """The target's address; None where a proxy has resolved the name."""

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()


class Dialer(Protocol):
    """Opens connections to targets over one route."""

    async def dial(self, target: Target, *, deadline: float) -> Dialed:
        """Connect to `target` by `deadline` (seconds on the running loop's clock).

        Raises DialError, and passes asyncio.CancelledError on after closing what it opened.
        """
        ...
