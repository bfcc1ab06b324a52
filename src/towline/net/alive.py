"""Is a route alive for a target: dial the target over it, and shake hands in TLS with whoever answers.

    dial -> ClientHello ... Finished, certificate and host name verified -> alive; close_notify, FIN

This decides whether the route of a silent tunnel is dead, so it goes where the tunnel went, through the route's own
dialer. An open port would prove too little: where a forged address or a network on the way answers for the registry,
TCP is well, and only the certificate tells (clients.md E). It is checked against the system's roots, as registry
clients do. But a client may know an authority that this machine does not (Docker's certs.d), so it is told apart
whether nobody answered or somebody with a certificate that is not trusted here: where that is so over every route, it
says something about this machine, and the routes that answered are alive.

Cost, measured on loopback against Go's server, TLS 1.3: 3 ms from the dial to the verdict, 2 ms of it processor time.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ssl
from dataclasses import dataclass
from functools import cache

from towline.errors import DialError
from towline.net.dialer import Dialed, Dialer
from towline.net.edge import closed, dial_error, dialing
from towline.net.wire import hang_up, receive, send_all
from towline.types import Phase, Target

PLAIN_PORT = 80  # HTTP without TLS (RFC 9110 section 4.2.1)
LINGER = 0.5
"""Seconds that the target gets to end its side after ours; it takes a round trip. The session tickets of TLS 1.3 come
in that time, and would meet a closed socket, which answers with RST."""


@dataclass(frozen=True, slots=True)
class Alive:
    """Whether a target was reached over a route."""

    ok: bool
    detail: str
    """For the reader; in a DialError's words where it was not reached."""
    seconds: float
    """The time to that verdict."""
    untrusted: bool = False
    """Not reached, but for the certificate: whoever answered has one that is not trusted here."""


async def is_alive(target: Target, dialer: Dialer, *, deadline: float, plain: bool = False) -> Alive:
    """Try `target` over the route of `dialer`, until `deadline` (seconds on the running loop's clock) at the latest.

    `plain`: its clients speak to it without TLS, as everyone does at port 80; then the dial decides.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        dialed = await dialer.dial(target, deadline=deadline)
        with contextlib.closing(dialed):
            if plain or target.port == PLAIN_PORT:
                return Alive(ok=True, detail="established", seconds=loop.time() - began)
            version = await _shake_hands(dialed, target.host, deadline=deadline)
            alive = Alive(ok=True, detail=f"established, {version}", seconds=loop.time() - began)
            await hang_up(dialed.sock, linger=min(LINGER, deadline - loop.time()))
            return alive
    except _UntrustedError as error:
        return Alive(ok=False, detail=error.detail, seconds=loop.time() - began, untrusted=True)
    except DialError as error:
        return Alive(ok=False, detail=error.detail, seconds=loop.time() - began)


class _UntrustedError(DialError):
    """The target's own certificate is not trusted; not a proxy's, which the dialer checks."""


async def _shake_hands(dialed: Dialed, host: str, *, deadline: float) -> str:
    """Begin a TLS session with `host` and end it; returns its version. Raises DialError.

    In memory, not by wrap_socket: the connection may be TLS already, to an HTTPS proxy, and have early bytes.
    """
    async with dialing(deadline, to="target") as progress:
        progress.phase = Phase.TLS
        context = await _system_trust()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        incoming.write(dialed.early)
        tls = context.wrap_bio(incoming, outgoing, server_hostname=host)
        try:
            while _wants_more(tls):
                await send_all(dialed.sock, outgoing.read())
                if not (data := await receive(dialed.sock)):
                    raise closed(Phase.TLS)
                incoming.write(data)
            with contextlib.suppress(ssl.SSLError):  # it writes close_notify, then looks for the target's
                tls.unwrap()
        except ssl.SSLError as error:
            with contextlib.suppress(OSError):  # the alert that says why (RFC 8446 section 6.2)
                dialed.sock.send(outgoing.read())
            if isinstance(error, ssl.SSLCertVerificationError):
                told = dial_error(error, Phase.TLS)
                raise _UntrustedError(told.kind, told.phase, told.blame, told.detail) from error
            raise
        await send_all(dialed.sock, outgoing.read())
        return str(tls.version())


def _wants_more(tls: ssl.SSLObject) -> bool:
    """Take the handshake as far as the bytes reach; True where it needs the target's next. Raises ssl.SSLError."""
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return True
    return False


async def _system_trust() -> ssl.SSLContext:
    """The context of every probe; its first use reads the system's roots, in a thread."""
    if _context.cache_info().currsize:  # no probe waits behind what else the threads have to do
        return _context()
    try:
        return await asyncio.to_thread(_context)
    except RuntimeError as error:  # no thread can be had
        raise OSError(errno.EAGAIN, str(error)) from error


@cache
def _context() -> ssl.SSLContext:
    """Trusts the system's roots, or those of SSL_CERT_FILE; reading them took 60 ms (144 roots, OpenSSL 3.0)."""
    context = ssl.create_default_context()
    # Python 3.13 asks for what RFC 5280 wants of an authority's certificate. Go, and with it the clients, does not, so
    # that they trust many a company's own authority that this flag rejects.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
