"""What is read off TLS from outside, by example; the hellos are OpenSSL's own."""

from __future__ import annotations

import os
import ssl

import pytest

from towline.core.tls import (
    CLOSE_NOTIFY_13,
    MAX_RECORD,
    TAIL,
    Answer,
    Flight,
    ended_cleanly,
    judge_answer,
    offers_http2,
    read_flight,
)


def client_hello(context: ssl.SSLContext | None = None) -> bytes:
    """The first flight of a real client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = (context or ssl.create_default_context()).wrap_bio(incoming, outgoing, server_hostname="registry.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


HELLO = client_hello()


def hello_with(*extensions: tuple[int, bytes]) -> bytes:
    """A small ClientHello with these extensions, in one record."""
    block = b"".join(kind.to_bytes(2) + len(body).to_bytes(2) + body for kind, body in extensions)
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00" + len(block).to_bytes(2) + block
    return record(b"\x01" + len(body).to_bytes(3) + body)


def record(body: bytes, kind: int = 22) -> bytes:
    """One TLS record."""
    return bytes((kind, 3, 1)) + len(body).to_bytes(2) + body


def test_hello_of_a_real_client() -> None:
    """A whole ClientHello may be sent again; every beginning of it is incomplete."""
    assert read_flight(HELLO) is Flight.HELLO
    assert {read_flight(HELLO[:length]) for length in range(len(HELLO))} == {Flight.INCOMPLETE}


def test_hello_without_extensions_and_of_tls_1_2() -> None:
    """What older clients send is a hello like any other."""
    context = ssl.create_default_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert read_flight(client_hello(context)) is Flight.HELLO
    assert read_flight(hello_with()) is Flight.HELLO
    no_extensions = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    assert read_flight(record(b"\x01" + len(no_extensions).to_bytes(3) + no_extensions)) is Flight.HELLO


def test_hello_in_several_records() -> None:
    """A handshake message may be spread over records (RFC 8446 5.1)."""
    message = HELLO[5:]
    assert read_flight(record(message[:3]) + record(message[3:100]) + record(message[100:])) is Flight.HELLO
    assert read_flight(record(message[:3]) + record(message[3:100])) is Flight.INCOMPLETE


def test_early_data_is_sent_once() -> None:
    """The early_data extension, and anything behind the hello, mean that a server may have acted."""
    assert read_flight(hello_with((0, b"x"), (42, b""))) is Flight.EARLY_DATA
    assert read_flight(hello_with((0, b"x"), (43, b"\x02\x03\x04"))) is Flight.HELLO
    assert read_flight(HELLO + b"\x17") is Flight.EARLY_DATA


def test_http2_is_told_by_alpn() -> None:
    """crane and its kin offer h2; dockerd, containerd and podman do not (clients.md 0 fact 1)."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    assert offers_http2(client_hello(context))
    context.set_alpn_protocols(["http/1.1"])
    assert not offers_http2(client_hello(context))
    assert not offers_http2(HELLO)
    assert not offers_http2(b"")


def test_hello_that_cannot_be_walked_is_sent_once() -> None:
    """Lengths that lead out of the message are taken for the worst."""
    body = b"\x03\x03" + bytes(32) + b"\xff"
    assert read_flight(record(b"\x01" + len(body).to_bytes(3) + body)) is Flight.EARLY_DATA


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1",
        b"SSH-2.0-OpenSSH",
        b"\x16\x02\x00",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01" + (MAX_RECORD + 1).to_bytes(2),
        record(b"\x02" + bytes(50)),
        record(HELLO[5:100]) + b"\x15",
    ],
    ids=["http", "ssh", "sslv2", "empty record", "huge record", "server hello", "alert in a hello"],
)
def test_no_hello(data: bytes) -> None:
    """What is no ClientHello is left to those who know its protocol."""
    assert read_flight(data) is Flight.OTHER


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"", Answer.INCOMPLETE),
        (b"\x16\x03\x03\x00\x7a", Answer.INCOMPLETE),
        (b"\x16\x03\x03\x00\x7a\x02", Answer.PLAUSIBLE),
        (b"\x16\x03\x03\x00\x7a\x01", Answer.NOT_TLS),
        (b"\x15\x03\x03\x00\x02\x02", Answer.INCOMPLETE),
        (b"\x15\x03\x03\x00\x02\x02\x28", Answer.FATAL_ALERT),
        (b"\x15\x03\x03\x00\x02\x01\x00", Answer.PLAUSIBLE),
        (b"HTTP/1.1 403 Forbidden\r\n", Answer.NOT_TLS),
        (b"\x17\x03\x03\x00\x20", Answer.NOT_TLS),
    ],
    ids=[
        "nothing",
        "header",
        "server hello",
        "client hello",
        "half an alert",
        "fatal",
        "warning",
        "block page",
        "application data",
    ],
)
def test_judge_answer(data: bytes, answer: Answer) -> None:
    """A TLS server begins with a ServerHello or an alert; a block page does not."""
    assert judge_answer(data) is answer


@pytest.mark.parametrize(
    ("tail", "clean"),
    [
        (CLOSE_NOTIFY_13 + bytes(19), True),
        (os.urandom(61) + CLOSE_NOTIFY_13 + bytes(19), True),
        (b"\x15\x03\x03\x00\x02\x01\x00", True),
        (b"data\x15\x03\x03\x00\x1a" + bytes(26), True),
        (b"\x15\x03\x01\x00\x50" + bytes(80), True),
        (CLOSE_NOTIFY_13 + bytes(18), False),
        (CLOSE_NOTIFY_13 + bytes(20), False),
        (bytes(TAIL), False),
        (b"", False),
    ],
    ids=["tls 1.3", "behind data", "in clear", "gcm", "cbc", "cut in it", "data after it", "cut", "nothing"],
)
def test_ended_cleanly(tail: bytes, *, clean: bool) -> None:
    """Ends have an alert record as their very last bytes; cuts do not."""
    assert ended_cleanly(tail) is clean
