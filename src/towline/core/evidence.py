"""What is observed of routes, as values that pass from the wire to the ledger: nothing here decides.

Carried     what a tunnel or a probe brought while its upstream was the limit
Finding     what one probe found about one route for one host
"""

from __future__ import annotations

from dataclasses import dataclass

from towline.types import Blame, Role, Target


@dataclass(frozen=True, slots=True)
class Carried:
    """Bytes that came over a route, and how long that took.

    TCP's slow start is left out, and so is time in which the client was the limit.
    """

    bytes: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes a second; 0 where no time passed."""
        return self.bytes / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one probe found: of several routes asked for the same host, one each. Times in seconds."""

    route: str
    target: Target
    registry: str
    role: Role
    ok: bool
    """The host answered as its registry does."""
    detail: str
    """For the reader, in the words of a DialError where it failed: `refused`, `a page that is no registry's (302)`."""
    blame: Blame = Blame.NONE
    dial: float | None = None
    """Until the connection was established end to end; None where it never was."""
    first_byte: float | None = None
    """From the ClientHello to the server's first byte; None where none came."""
    carried: Carried | None = None
    """What a ranged read brought; None where none was tried or it failed."""
    spent: int = 0
    """Bytes that the probe cost, both ways."""
