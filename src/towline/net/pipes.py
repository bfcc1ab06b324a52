"""Pipes for splice(2): bytes go from socket to pipe to socket without passing through this process.

A direction of a tunnel borrows a pipe when its source has bytes and gives it back once its sink has taken them all.
A few pipes serve thousands of tunnels, then, and idle tunnels hold none: only a direction whose sink is slower than its
source keeps a pipe from one turn of the event loop to the next.

One rule keeps tunnels apart: a pipe that still holds bytes is never lent again. It is closed.

A turn moves some pipes' worth (direction.py), and everybody else waits meanwhile. So turns are short while somebody
waits for an answer that takes many turns of the loop: a tunnel that is being made, and the first bytes that it brings.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from typing import Self

from towline.core.capacity import MAX_PIPES

PIPE_BYTES = 1 << 20
"""Capacity asked for, and the most that a fill takes: what Linux grants an unprivileged user (pipe(7),
fs.pipe-max-size). 0.2 CPU-seconds per GB, where 256 KiB cost 0.3 and 64 KiB 0.55 (python -m tests.bench.relay)."""

SHORT_TURN = 1 << 17
"""The most that a turn moves while somebody waits. Beside four busy tunnels on loopback a tunnel is made in 5 ms so, in
30 with full turns, in 4 or 8 with half or twice of this (`make bench`). A GB costs twice the CPU meanwhile."""
GIVE_WAY = 0.02
"""Seconds that turns stay short at least: a tunnel that is being made asks for it again at each of its steps."""

PIPE_LIMIT = MAX_PIPES
"""Pipes in one pool: 32 MiB, half of what an unprivileged user may have in pipes (pipe(7), fs.pipe-user-pages-soft)."""

if sys.platform == "linux":
    _TAKE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
    _GIVE = _TAKE | os.SPLICE_F_MORE


class Pipe:
    """One pipe and the number of bytes it holds."""

    def __init__(self) -> None:
        """Raise OSError where no descriptor is left (EMFILE), or no capacity in the user's quota (EPERM)."""
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        try:
            fcntl.fcntl(self._write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            # Not used as small as it is: over quota that is 8 KiB, and 2.5 CPU-seconds per GB. Copying costs less.
            self.close()
            raise

    def fill(self, source: int, size: int) -> int:
        """Move at most `size` bytes of the socket `source` into the empty pipe; 0 when it has ended.

        Raises OSError as recv does.
        """
        moved = os.splice(source, self._write_end, size, flags=_TAKE)
        self.held += moved
        return moved

    def drain(self, sink: int, size: int) -> int:
        """Move at most `size` bytes to the socket `sink`; return how many it took. Raises OSError as send does.

        The sink is told that more follows, so that the rest does not travel in a packet of its own.
        """
        moved = os.splice(self._read_end, sink, size, flags=_GIVE)
        self.held -= moved
        return moved

    def read(self) -> bytes:
        """Take everything out of the pipe into memory."""
        data = os.read(self._read_end, self.held)
        self.held = 0
        return data

    def close(self) -> None:
        """Close both ends; what the pipe holds is gone."""
        os.close(self._read_end)
        os.close(self._write_end)


class PipePool:
    """At most `limit` pipes, two descriptors each. It belongs to one event loop, so it needs no lock."""

    def __init__(self, limit: int = PIPE_LIMIT) -> None:
        self._limit = limit
        self._idle: list[Pipe] = []
        self._lent = 0
        self.turn_bytes = PIPE_BYTES
        """The most that a fill takes now; where that is less than PIPE_BYTES, it is all that its turn takes."""
        self._asked_again = False
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def where_supported(cls, limit: int = PIPE_LIMIT) -> Self | None:
        """A pool of at most `limit` pipes on Linux; None where there is no splice(2), and relays copy."""
        return cls(limit) if sys.platform == "linux" else None

    def borrow(self) -> Pipe | None:
        """Lend an empty pipe; None when all are lent or another cannot be had, and the caller copies instead."""
        if self._idle:
            pipe = self._idle.pop()
        elif self._lent < self._limit:
            try:
                pipe = Pipe()
            except OSError:  # no reason to end a tunnel that runs
                return None
        else:
            return None
        self._lent += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Take back a lent pipe. One that still holds bytes is closed: the next tunnel would send them."""
        self._lent -= 1
        if pipe.held:
            pipe.close()
        else:
            self._idle.append(pipe)

    def give_way(self) -> None:
        """Somebody waits: turns are short for the next GIVE_WAY seconds, or twice as long at most."""
        if self._timer is None:
            self.turn_bytes = SHORT_TURN
            self._timer = asyncio.get_running_loop().call_later(GIVE_WAY, self._look_again)
        else:
            self._asked_again = True

    def _look_again(self) -> None:
        self._timer = None
        if self._asked_again:
            self._asked_again = False
            self.give_way()
        else:
            self.turn_bytes = PIPE_BYTES

    def close(self) -> None:
        """Close the idle pipes. Relays end first: a pipe given back later would stay open."""
        if self._timer is not None:
            self._timer.cancel()
        while self._idle:
            self._idle.pop().close()
