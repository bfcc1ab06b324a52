"""TLS inside a dialed connection, as a registry client speaks it: certificate and host name are verified.

    tls = Tls(dialed, "registry-1.docker.io", await system_trust("http/1.1"))
    await tls.handshake()
    await tls.write(...); await tls.read()
    await tls.leave(linger=0.5)                     close_notify, FIN

In memory, not by wrap_socket: the connection may be TLS already, to an HTTPS proxy, and have early bytes. The session
counts what it costs, and notes when how much had arrived (core/arrivals.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import ssl

from towline.core.arrivals import Arrivals
from towline.errors import DialError
from towline.net.dialer import Dialed
from towline.net.edge import closed
from towline.net.wire import RECEIVE_SIZE, hang_up, receive, send_all
from towline.types import Blame, OutcomeKind, Phase

MOST = 128 * 1024
"""Bytes that may come: a handshake is some 6 KiB, and OpenSSL itself takes a chain of 100 KiB."""


class Tls:
    """A client's session with `host`, over a connection that is its own from here on."""

    def __init__(self, dialed: Dialed, host: str, trust: ssl.SSLContext, *, most: int = MOST) -> None:
        """`most`: bytes that may come; more is the end of it. Raises ssl.SSLError, the connection closed."""
        self._sock = dialed.sock
        self._most = most
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._incoming.write(dialed.early)
        try:
            self._tls = trust.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        except BaseException:
            self.close()
            raise
        self._clock = asyncio.get_running_loop().time
        self.sent = 0
        """Bytes on the wire, as the next."""
        self.arrivals = Arrivals(received=len(dialed.early))
        self.first_byte: float | None = None
        """Seconds from the ClientHello to the first byte of an answer; None until it came."""

    async def handshake(self) -> None:
        """Begin the session. Raises OSError, SSLError among them; DialError where the host ends it or says too much."""
        began = self._clock()
        try:
            while self._wants_more():
                await self._send()
                await self._receive(Phase.TLS)
                if self.first_byte is None:
                    self.first_byte = self._clock() - began
        except ssl.SSLError:
            with contextlib.suppress(OSError):  # the alert that says why (RFC 8446 section 6.2)
                self._sock.send(self._outgoing.read())
            raise
        await self._send()

    def _wants_more(self) -> bool:
        """Take the handshake as far as the bytes reach; True where it needs the host's next. Raises ssl.SSLError."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return True
        return False

    @property
    def version(self) -> str:
        """`TLSv1.3` and the like."""
        return str(self._tls.version())

    @property
    def session(self) -> ssl.SSLObject:
        """What was agreed on."""
        return self._tls

    @property
    def has_news(self) -> bool:
        """Whether something came that was not read: while nothing is due, that is the host's end."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    async def write(self, data: bytes) -> None:
        """Send the whole of `data`. Raises OSError."""
        self._tls.write(data)
        await self._send()

    async def read(self, size: int) -> bytes:
        """The next bytes, at most `size`, or b"" at the end. Raises as `handshake`."""
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                await self._receive(Phase.ESTABLISHED)
            except ssl.SSLZeroReturnError:  # close_notify
                return b""

    async def leave(self, *, linger: float) -> None:
        """End the session and the connection in order; what comes within `linger` seconds is dropped."""
        with contextlib.suppress(ssl.SSLError):  # it writes close_notify, then looks for the host's
            self._tls.unwrap()
        with contextlib.suppress(OSError):
            self._sock.send(self._outgoing.read())
        await hang_up(self._sock, linger=linger)

    def close(self) -> None:
        """Close the connection, whatever is still on its way."""
        self._sock.close()

    async def _send(self) -> None:
        data = self._outgoing.read()
        self.sent += len(data)
        await send_all(self._sock, data)

    async def _receive(self, phase: Phase) -> None:
        """Take the host's next bytes in. Raises DialError where it ends the connection here."""
        try:
            data = self._sock.recv(RECEIVE_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self.arrivals.all_read(now=self._clock())
            data = await receive(self._sock)
        if not data:
            raise closed(phase)
        self.arrivals.read(len(data))
        if self.arrivals.received > self._most:
            raise DialError(OutcomeKind.CLOSED, phase, Blame.TARGET, f"more than {self._most} bytes came")
        self._incoming.write(data)
