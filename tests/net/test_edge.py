"""The mapping of foreign exceptions, and the deadline."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl

import pytest

from towline.errors import DialError
from towline.net.edge import MAX_FOREIGN_TEXT, brief, closed, dial_error, dialing, of_proxy
from towline.types import Blame, OutcomeKind, Phase


def tls_failure(reason: str) -> ssl.SSLError:
    """An ssl.SSLError with the attribute that _ssl sets."""
    error = ssl.SSLError(1, "text")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "kind", "blame", "detail"),
    [
        (OSError(errno.ECONNREFUSED, ""), OutcomeKind.REFUSED, Blame.TARGET, "refused"),
        (OSError(errno.ECONNRESET, ""), OutcomeKind.RESET, Blame.ROUTE, "reset"),
        (OSError(errno.EPIPE, ""), OutcomeKind.RESET, Blame.ROUTE, "reset"),
        (OSError(errno.ENOTCONN, ""), OutcomeKind.RESET, Blame.ROUTE, "reset"),
        (OSError(errno.ETIMEDOUT, ""), OutcomeKind.TIMEOUT, Blame.ROUTE, "timed out in the kernel"),
        (OSError(errno.ENETUNREACH, ""), OutcomeKind.UNREACHABLE, Blame.ROUTE, "network unreachable"),
        (OSError(errno.EHOSTUNREACH, ""), OutcomeKind.UNREACHABLE, Blame.ROUTE, "host unreachable"),
        (OSError(errno.EPERM, ""), OutcomeKind.UNREACHABLE, Blame.ROUTE, "not permitted by this machine's firewall"),
        (OSError(errno.EMFILE, "Too many open files"), OutcomeKind.LOCAL, Blame.LOCAL, "too many open files"),
        (OSError("odd"), OutcomeKind.LOCAL, Blame.LOCAL, "oserror('odd')"),
        (ssl.SSLEOFError(8, ""), OutcomeKind.CLOSED, Blame.ROUTE, "closed the connection"),
        (tls_failure("NO_SHARED_CIPHER"), OutcomeKind.TLS, Blame.ROUTE, "TLS failed: no shared cipher"),
    ],
    ids=lambda value: str(value) if isinstance(value, OutcomeKind) else "",
)
def test_maps_system_and_tls_errors(error: OSError, kind: OutcomeKind, blame: Blame, detail: str) -> None:
    """Every errno has a kind, a culprit and a phrase; what is not known is this machine's."""
    mapped = dial_error(error, Phase.CONNECT)
    assert (mapped.kind, mapped.phase, mapped.blame, mapped.detail) == (kind, Phase.CONNECT, blame, detail)


@pytest.mark.parametrize(
    ("code", "blame", "detail"),
    [
        (socket.EAI_NONAME, Blame.TARGET, "no such host"),
        (socket.EAI_NODATA, Blame.TARGET, "no such host"),
        (socket.EAI_AGAIN, Blame.ROUTE, "no answer from the name server"),
        (socket.EAI_FAIL, Blame.ROUTE, "name server failure"),
        (socket.EAI_MEMORY, Blame.LOCAL, "name lookup failed: out of memory"),
    ],
)
def test_maps_name_errors(code: int, blame: Blame, detail: str) -> None:
    """A name that does not exist is the target's; a name server that does not answer is the route's."""
    mapped = dial_error(socket.gaierror(code, "Out of memory"), Phase.CONNECT)
    assert (mapped.kind, mapped.phase) == (OutcomeKind.UNRESOLVED, Phase.RESOLVE)
    assert (mapped.blame, mapped.detail) == (blame, detail)


async def test_ends_at_the_deadline_with_the_phase_reached() -> None:
    """The deadline is a DialError that tells how long was waited, and for what."""

    async def hang_in_tls() -> None:
        async with dialing(asyncio.get_running_loop().time() + 0.05, to="proxy") as progress:
            progress.phase = Phase.TLS
            await asyncio.Event().wait()

    with pytest.raises(DialError) as caught:
        await hang_in_tls()
    assert (caught.value.kind, caught.value.phase, caught.value.blame) == (OutcomeKind.TIMEOUT, Phase.TLS, Blame.ROUTE)
    assert caught.value.detail.startswith("proxy: timeout 0.")
    assert caught.value.detail.endswith(" s in the TLS handshake")


@pytest.mark.parametrize("phase", Phase)
async def test_every_phase_may_be_too_slow(phase: Phase) -> None:
    """There are words for each, and the route is to blame."""

    async def hang() -> None:
        async with dialing(0.0, to="target") as progress:
            progress.phase = phase
            await asyncio.Event().wait()

    with pytest.raises(DialError, match="timeout") as caught:
        await hang()
    assert (caught.value.kind, caught.value.phase, caught.value.blame) == (OutcomeKind.TIMEOUT, phase, Blame.ROUTE)


async def test_passes_on_what_is_no_failure_of_a_dial() -> None:
    """A DialError stays as it is, cancellation stays cancellation, and a bug stays visible."""
    later = asyncio.get_running_loop().time() + 10
    for error in (closed(Phase.PROXY), asyncio.CancelledError(), RuntimeError("bug")):
        with pytest.raises(type(error)) as caught:
            async with dialing(later, to="proxy"):
                raise error
        assert caught.value is error


def test_never_blames_the_target_for_the_proxy() -> None:
    """What would be the target's fault is the route's where it happened to the proxy; local faults stay local."""
    refused = of_proxy(DialError(OutcomeKind.REFUSED, Phase.CONNECT, Blame.TARGET, "refused"))
    assert (refused.blame, refused.detail) == (Blame.ROUTE, "proxy: refused")
    local = of_proxy(DialError(OutcomeKind.LOCAL, Phase.CONNECT, Blame.LOCAL, "too many open files"))
    assert local.blame is Blame.LOCAL


def test_foreign_text_is_short_and_printable() -> None:
    """Control characters and other scripts become question marks, and length is bounded."""
    assert brief(" a\r\nb\x1b[31m\N{SNOWMAN} ") == "a??b?[31m?"
    assert len(brief("x" * 500)) == MAX_FOREIGN_TEXT
