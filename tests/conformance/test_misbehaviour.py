"""Proxies that misbehave at every step: each ends in a DialError that says what happened and blames the route."""

from __future__ import annotations

import asyncio
import sys

import pytest
from tests.conformance.conftest import FAULTS, Lab
from tests.net.peers import GARBAGE, garbage, hang_up, repeats, reset, says
from tests.net.proxies import Fault

from towline.errors import DialError
from towline.net.connect import MAX_REPLY
from towline.types import Blame, OutcomeKind, Phase, Target

TARGET = Target("127.0.0.1", 443)
HTTP_KINDS = ("http", "https")


async def failure(lab: Lab, kind: str, fault: Fault) -> DialError:
    """How a dial over a proxy with this fault ends."""
    dialer = await lab.dialer(kind, fault=fault)
    with pytest.raises(DialError) as caught:
        await dialer.dial(TARGET, deadline=asyncio.get_running_loop().time() + 10)
    assert caught.value.phase is (Phase.TLS if fault.step == "tls" else Phase.PROXY)
    return caught.value


@pytest.mark.parametrize(("kind", "step"), FAULTS)
async def test_reports_a_proxy_that_hangs_up(lab: Lab, kind: str, step: str) -> None:
    """A FIN in mid-handshake is `closed`; where it crosses bytes of ours, the kernel makes it a reset."""
    error = await failure(lab, kind, Fault(step, hang_up))
    assert error.kind in {OutcomeKind.CLOSED, OutcomeKind.RESET}
    if error.kind is OutcomeKind.CLOSED:
        assert error.detail == "proxy: closed the connection"
    assert error.blame is Blame.ROUTE


@pytest.mark.parametrize(("kind", "step"), FAULTS)
async def test_reports_a_proxy_that_resets(lab: Lab, kind: str, step: str) -> None:
    """An RST in mid-handshake is `reset`; under TLS CPython 3.12.1 takes it for the end of the stream."""
    error = await failure(lab, kind, Fault(step, reset))
    if kind == "https" and error.kind is OutcomeKind.CLOSED:
        assert sys.version_info < (3, 13)
    else:
        assert (error.kind, error.detail) == (OutcomeKind.RESET, "proxy: reset")
    assert error.blame is Blame.ROUTE


@pytest.mark.parametrize(("kind", "step"), FAULTS)
async def test_reports_a_proxy_that_talks_nonsense(lab: Lab, kind: str, step: str) -> None:
    """Bytes of no protocol are a protocol error, at every step."""
    error = await failure(lab, kind, Fault(step, garbage))
    assert error.kind is (OutcomeKind.TLS if step == "tls" else OutcomeKind.PROXY_PROTOCOL)
    assert error.blame is Blame.ROUTE
    assert error.detail.startswith("proxy: ")
    assert error.detail.isprintable()


@pytest.mark.parametrize("kind", HTTP_KINDS)
async def test_reads_no_endless_head(lab: Lab, kind: str) -> None:
    """A reply head without an end is given up at its bound."""
    fault = Fault("reply", says(b"HTTP/1.1 200 OK\r\nX-Filler: " + b"x" * 2 * MAX_REPLY))
    error = await failure(lab, kind, fault)
    assert (error.kind, error.detail) == (OutcomeKind.PROXY_PROTOCOL, f"proxy: reply head over {MAX_REPLY} bytes")


@pytest.mark.parametrize("kind", HTTP_KINDS)
async def test_accepts_no_head_beyond_the_bound(lab: Lab, kind: str) -> None:
    """Nor is one taken that does end, but too late."""
    filler = b"X-Filler: " + b"x" * 1000 + b"\r\n"
    fault = Fault("reply", says(b"HTTP/1.1 200 OK\r\n" + filler * (MAX_REPLY // 1000 + 1) + b"\r\n"))
    error = await failure(lab, kind, fault)
    assert error.kind is OutcomeKind.PROXY_PROTOCOL


@pytest.mark.parametrize("kind", HTTP_KINDS)
async def test_bounds_interim_replies(lab: Lab, kind: str) -> None:
    """A flood of 1xx replies counts towards the same bound."""
    error = await failure(lab, kind, Fault("reply", repeats(b"HTTP/1.1 100 Continue\r\n\r\n")))
    assert (error.kind, error.detail) == (OutcomeKind.PROXY_PROTOCOL, f"proxy: reply head over {MAX_REPLY} bytes")


@pytest.mark.parametrize("kind", HTTP_KINDS)
async def test_passes_over_a_few_interim_replies(lab: Lab, kind: str) -> None:
    """1xx replies before the final one are no fault."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    dialer = await lab.dialer(kind, fault=Fault("reply", says(interim + b"HTTP/1.1 200 OK\r\n\r\nhello")))
    dialed = await dialer.dial(TARGET, deadline=asyncio.get_running_loop().time() + 10)
    dialed.close()
    assert dialed.early == b"hello"


@pytest.mark.parametrize("kind", ["socks5", "socks5h"])
async def test_takes_no_answer_ahead_of_its_question(lab: Lab, kind: str) -> None:
    """A SOCKS server that sends every reply at once has not read what it was asked."""
    error = await failure(lab, kind, Fault("method", says(b"\x05\x00" + b"\x05\x00\x00\x01" + b"\x00" * 6)))
    assert (error.kind, error.detail) == (OutcomeKind.PROXY_PROTOCOL, "proxy: answers before it is asked")


async def test_tells_a_plain_port_from_a_tls_port(lab: Lab) -> None:
    """https:// in front of a plain proxy is a common mistake, and the detail says so."""
    error = await failure(lab, "https", Fault("tls", says(b"HTTP/1.1 400 Bad Request\r\n\r\n")))
    assert error.detail == "proxy: no TLS on this port (http:// instead of https://?)"


async def test_tells_a_tls_port_from_a_plain_port(lab: Lab) -> None:
    """So does the opposite mistake: a TLS alert in answer to CONNECT."""
    error = await failure(lab, "http", Fault("reply", says(b"\x15\x03\x01\x00\x02\x02\x16")))
    assert error.detail == "proxy: answers in TLS (https:// instead of http://?)"


def test_garbage_is_garbage() -> None:
    """The nonsense of these tests begins like none of the protocols."""
    assert not GARBAGE.startswith((b"HTTP", b"\x05", b"\x16\x03", b"\x15\x03"))
