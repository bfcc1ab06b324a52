"""A dialer without a network, for tests of what stands above dialers; tests/conformance holds it to their contract.

fake = FakeDialer(Fail(DialError(...)), Establish(early=b"hello"))     # one step per dial, the last one repeats
fake.far_ends                                                           # the target's ends of what was dialled
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from towline.errors import DialError
from towline.net.dialer import Dialed
from towline.net.edge import dialing
from towline.types import Phase, Target


@dataclass(frozen=True, slots=True)
class Establish:
    """The dial succeeds `after` seconds, with `early` bytes."""

    after: float = 0.0
    early: bytes = b""


@dataclass(frozen=True, slots=True)
class Fail:
    """The dial fails `after` seconds with `error`."""

    error: DialError
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Hang:
    """The dial neither succeeds nor fails: the deadline ends it."""


type Step = Establish | Fail | Hang


class FakeDialer:
    """Plays one step per dial; a context manager that closes the far ends."""

    def __init__(self, *steps: Step) -> None:
        self._steps = list(steps or [Establish()])
        self.targets: list[Target] = []
        """What was dialled, in order."""
        self.far_ends: list[socket.socket] = []
        """For every established dial the target's end of the connection, non-blocking."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for sock in self.far_ends:
            sock.close()

    async def dial(self, target: Target, *, deadline: float) -> Dialed:
        """Play the next step; see Dialer."""
        self.targets.append(target)
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        async with dialing(deadline, to="target") as progress:
            progress.phase = Phase.CONNECT
            match step:
                case Hang():
                    await asyncio.Event().wait()
                case Fail(error, after):
                    await asyncio.sleep(after)
                    raise DialError(error.kind, error.phase, error.blame, error.detail)
                case Establish(after):
                    await asyncio.sleep(after)
        assert isinstance(step, Establish)
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        self.far_ends.append(far)
        return Dialed(near, peer=target.authority, early=step.early)
