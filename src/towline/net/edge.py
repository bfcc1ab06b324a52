"""The edge of a dial: its one deadline, and the one place where foreign exceptions become DialErrors.

    async with dialing(deadline, to="proxy") as progress:
        progress.phase = Phase.CONNECT
        ...                                 # OSError and the deadline leave this block as DialError

Nothing below a dialer maps an exception a second time; nothing above it sees another exception than DialError and
asyncio.CancelledError.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from towline.errors import DialError
from towline.types import Blame, OutcomeKind, Phase

MAX_FOREIGN_TEXT = 80
"""Characters of a peer's or library's own text that a detail may carry: it shares one reason phrase with others."""

_UNREACHABLE = {
    errno.ENETUNREACH: "network unreachable",
    errno.EHOSTUNREACH: "host unreachable",
    errno.EHOSTDOWN: "host down",
    errno.ENETDOWN: "network down",
    errno.ENODEV: "interface gone",
    errno.EADDRNOTAVAIL: "no local address to use",
    errno.EAFNOSUPPORT: "address family not supported here",
    # An output rule that drops gives EPERM to connect(2), one that rejects as prohibited gives EACCES.
    errno.EPERM: "not permitted by this machine's firewall",
    errno.EACCES: "not permitted by this machine's firewall",
}
"""What connect(2) says where no packet finds its way: the route's fault, since another may have one."""

_NO_SUCH_HOST = {getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name)}
"""The name does not exist, or has no address; some systems know one code for both."""

_WAITING = {
    Phase.RESOLVE: " looking up the name",
    Phase.CONNECT: "",
    Phase.TLS: " in the TLS handshake",
    Phase.PROXY: " waiting for its answer",
    Phase.FIRST_FLIGHT: " waiting for its answer",
    Phase.ESTABLISHED: " waiting for its answer",
}


@dataclass(slots=True)
class Progress:
    """How far a dial has come: every step sets `phase` as it begins, so that a failure knows where it happened."""

    phase: Phase = Phase.RESOLVE


@asynccontextmanager
async def dialing(deadline: float, *, to: Literal["target", "proxy"]) -> AsyncIterator[Progress]:
    """Run the steps of one dial until `deadline` (seconds on the loop's clock).

    `to` is the peer that this machine connects to; details about a proxy say so. Raises DialError for every OSError and
    for the deadline; DialError, cancellation and bugs pass as they are.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    progress = Progress()
    try:
        async with asyncio.timeout_at(deadline) as timeout:
            yield progress
    except OSError as error:  # TimeoutError is one, and so is ssl.SSLError
        if timeout.expired():
            detail = f"timeout {loop.time() - began:.1f} s{_WAITING[progress.phase]}"
            failure = DialError(OutcomeKind.TIMEOUT, progress.phase, Blame.ROUTE, detail)
        else:
            failure = dial_error(error, progress.phase)
        raise (of_proxy(failure) if to == "proxy" else failure) from error


def dial_error(error: OSError, phase: Phase) -> DialError:
    """A failed call as a DialError: silence blames the route, an answer the target, want of something this machine.

    So a refusal blames the target. Where another route then reaches it, the ledger counts it against this one all the
    same; where none does, the target is down.
    """
    match error:
        case ssl.SSLError():  # first: its errno is a number of OpenSSL's, not of the system's
            return _tls_error(error, phase)
        case socket.gaierror():  # likewise: its errno is a number of getaddrinfo's
            return _name_error(error)
        case ConnectionRefusedError():
            return DialError(OutcomeKind.REFUSED, phase, Blame.TARGET, "refused")
        case ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError() | OSError(errno=errno.ENOTCONN):
            return DialError(OutcomeKind.RESET, phase, Blame.ROUTE, "reset")
        case TimeoutError():  # ETIMEDOUT: the kernel gave up before the deadline
            return DialError(OutcomeKind.TIMEOUT, phase, Blame.ROUTE, "timed out in the kernel")
    if (text := _UNREACHABLE.get(error.errno or 0)) is not None:
        return DialError(OutcomeKind.UNREACHABLE, phase, Blame.ROUTE, text)
    return DialError(OutcomeKind.LOCAL, phase, Blame.LOCAL, brief(error.strerror or repr(error)).lower())


def _name_error(error: socket.gaierror) -> DialError:
    """An answer that there is no such name is about the target; no answer is about the way it was asked for."""
    if error.errno in _NO_SUCH_HOST:
        blame, text = Blame.TARGET, "no such host"
    elif error.errno == socket.EAI_AGAIN:
        blame, text = Blame.ROUTE, "no answer from the name server"
    elif error.errno == socket.EAI_FAIL:
        blame, text = Blame.ROUTE, "name server failure"
    else:
        blame, text = Blame.LOCAL, f"name lookup failed: {brief(error.strerror or repr(error)).lower()}"
    return DialError(OutcomeKind.UNRESOLVED, Phase.RESOLVE, blame, text)


def _tls_error(error: ssl.SSLError, phase: Phase) -> DialError:
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"certificate not trusted: {brief(error.verify_message)}"
    elif isinstance(error, ssl.SSLEOFError):
        return closed(phase)
    elif error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:  # the latter since OpenSSL 3.2
        # People point https:// at a plain port often enough (docker/for-win#3550) for an error that says so.
        text = "no TLS on this port (http:// instead of https://?)"
    else:
        text = f"TLS failed: {brief(error.reason or str(error)).lower().replace('_', ' ')}"
    return DialError(OutcomeKind.TLS, phase, Blame.ROUTE, text)


def closed(phase: Phase) -> DialError:
    """The peer ended the connection before the dial was done."""
    return DialError(OutcomeKind.CLOSED, phase, Blame.ROUTE, "closed the connection")


def of_proxy(error: DialError) -> DialError:
    """`error` on the way to a proxy: the reader is told so, and a proxy that is not there is the route's fault."""
    blame = Blame.ROUTE if error.blame is Blame.TARGET else error.blame
    return DialError(error.kind, error.phase, blame, f"proxy: {error.detail}")


def brief(text: str) -> str:
    """`text` of foreign origin as a short phrase of printable ASCII."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text.strip())
    return plain if len(plain) <= MAX_FOREIGN_TEXT else plain[: MAX_FOREIGN_TEXT - 3] + "..."
