"""The request head on arbitrary bytes in arbitrary pieces, and side by side with h11."""

from __future__ import annotations

from http import HTTPStatus
from itertools import pairwise

import h11
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from towline.core.head import MAX_HEAD, HeadReader, Request
from towline.errors import Refused

type Answer = tuple[Request, bytes] | tuple[HTTPStatus, str, str] | None

TOKENS = st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)
VALUES = st.from_regex(rb"([!-~\x80-\xff]([ \t!-~\x80-\xff]{0,20}[!-~\x80-\xff])?)?", fullmatch=True)
BLANKS = st.sampled_from([b"", b" ", b"\t ", b"  "])
HOSTS = st.sampled_from([b"registry.test", b"Registry.Test.", b"192.0.2.7", b"[2001:db8::7]", b"xn--n3h.test"])
PORTS = st.integers(1, 65535).map(lambda port: b":%d" % port)
PATHS = st.from_regex(rb"([/?][!-\x22$-~]{0,30})?", fullmatch=True)
VERSIONS = st.sampled_from([b"1.0", b"1.1"])
METHODS = st.from_regex(rb"[A-Z]{1,8}", fullmatch=True).filter(lambda method: method not in {b"CONNECT", b"TRACE"})
SPECIAL = st.sampled_from(
    [
        b"Connection: keep-alive, X-Mine",
        b"Connection: close",
        b"Proxy-Authorization: Basic Y2k6Z2VoZWlt",
        b"Proxy-Connection: keep-alive",
        b"proxy-Anything: x",
        b"Keep-Alive: timeout=5",
        b"TE: trailers",
        b"Upgrade: websocket",
        b"X-Mine: 1",
        b"Via: 1.1 inner",
    ]
)
FIELDS = st.lists(
    st.one_of(
        SPECIAL,
        st.builds(lambda name, left, value, right: name + b":" + left + value + right, TOKENS, BLANKS, VALUES, BLANKS),
    ),
    max_size=5,
).filter(
    lambda lines: (
        not any(line.lower().startswith((b"host:", b"content-length:", b"transfer-encoding:")) for line in lines)
        and sum(line.lower().startswith(b"proxy-authorization:") for line in lines) < 2
    )
)
FRAMING = st.sampled_from([(), (b"Content-Length: 5",), (b"Transfer-Encoding: chunked",)])


def head(request_line: bytes, fields: list[bytes]) -> bytes:
    """A head of these lines."""
    return b"\r\n".join((request_line, *fields, b"", b""))


@st.composite
def connects(draw: st.DrawFn) -> bytes:
    """The head of a valid CONNECT."""
    authority = draw(HOSTS) + draw(PORTS)
    return head(b"CONNECT %s HTTP/1.1" % authority, [b"Host: " + authority, *draw(FIELDS)])


@st.composite
def absolutes(draw: st.DrawFn) -> bytes:
    """The head of a valid absolute-form request."""
    authority = draw(HOSTS) + draw(st.one_of(st.just(b""), PORTS))
    version, framing = draw(VERSIONS), draw(FRAMING)
    assume(version == b"1.1" or framing != (b"Transfer-Encoding: chunked",))
    request_line = b"%s http://%s%s HTTP/%s" % (draw(METHODS), authority, draw(PATHS), version)
    return head(request_line, [*draw(FIELDS), b"Host: " + authority, *framing])


# Bytes that are nearly a head: what parsers disagree about.
PIECES = [b"CONNECT", b"GET", b" ", b"\t", b"h.test:443", b"http://h.test/", b"HTTP/1.1", b"HTTP/1.9", b"\r\n", b"\r"]
PIECES += [b"\n", b"\r\n\r\n", b"Host: h", b"Host:h\r\n", b":", b"Content-Length: 1", b"Transfer-Encoding: chunked"]
PIECES += [b"PRI * HTTP/2.0", b"\x16\x03", b"\x05", b"\x00", b"\xff", b"x" * 8000, b"X: " + b"y" * 9000 + b"\r\n"]
NEARLY = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)
ANYTHING = st.one_of(st.binary(max_size=200), NEARLY, connects(), absolutes())


@st.composite
def chunked(draw: st.DrawFn, data: st.SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    """Bytes, whole and cut anywhere."""
    whole = draw(data)
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    return whole, [whole[start:end] for start, end in pairwise([0, *cuts, len(whole)])]


def read(chunks: list[bytes]) -> Answer:
    """The answer to these chunks, with the bytes that are left over; any other exception fails the test."""
    reader = HeadReader()
    for place, chunk in enumerate(chunks):
        try:
            whole = reader.feed(chunk)
        except Refused as refused:
            return refused.status, refused.code, refused.reason
        assert len(reader._buffer) <= MAX_HEAD + len(chunk), "no more is held than a head and a chunk"
        if whole is not None:
            request, rest = whole
            return request, rest + b"".join(chunks[place + 1 :])
    return None


@settings(max_examples=300)
@given(chunked(ANYTHING))
@example((b"\r\nGET", [b"\r", b"\nGET"]))
@example((b"\r\r\n", [b"\r", b"\r\n"]))
@example((b"\r\n\r\n", [b"\r\n\r", b"\n"]))
@example((b"x" * 8191 + b"\r\n", [b"x" * 8191, b"\r", b"\n"]))
@example((b"x" * 8190 + b"\r\n", [b"x" * 8190, b"\r", b"\n"]))
def test_chunks_make_no_difference(data: tuple[bytes, list[bytes]]) -> None:
    """Any bytes give a request, a refusal or nothing yet, and the same however they are cut: also byte by byte."""
    whole, chunks = data
    answer = read([whole])
    assert read(chunks) == answer
    assert read([bytes([byte]) for byte in whole]) == answer


@settings(max_examples=300)
@given(ANYTHING)
def test_h11_reads_the_same(data: bytes) -> None:
    """Whatever is accepted, h11 accepts as well and reads the same target in it: strict means a part of lenient."""
    answer = read([data])
    if answer is not None and isinstance(answer[0], Request):
        request, rest = answer
        assert isinstance(rest, bytes)
        theirs = next_event(data[: len(data) - len(rest)])
        assert theirs.method.decode() == request.method
        authority = theirs.target.decode().lower().removeprefix("http://")
        assert authority.startswith((request.target.host, f"[{request.target.host}]"))


@settings(max_examples=200)
@given(st.one_of(connects(), absolutes()), st.binary(max_size=20))
def test_valid_requests(data: bytes, rest: bytes) -> None:
    """Every valid request is accepted, and the bytes that follow it are kept."""
    answer = read([data + rest])
    assert answer is not None
    assert isinstance(answer[0], Request)
    assert answer[1] == rest


@settings(max_examples=300)
@given(absolutes())
def test_forwarded_heads(data: bytes) -> None:
    """What is forwarded is a well-formed request in origin-form with every end-to-end field and none of this hop's."""
    answer = read([data])
    assert answer is not None
    request = answer[0]
    assert isinstance(request, Request)
    came, goes = next_event(data), next_event(request.forward)
    assert (goes.method, goes.http_version) == (came.method, came.http_version)
    assert goes.target.startswith(b"/") or (goes.target, goes.method) == (b"*", b"OPTIONS")
    names = [name for name, _ in goes.headers]
    assert not any(name.startswith(b"proxy-") for name in names)
    assert not {b"keep-alive", b"te", b"upgrade"} & set(names)
    assert [value for name, value in goes.headers if name == b"connection"] == [b"close"]
    assert names.count(b"host") == 1
    assert [value for name, value in goes.headers if name == b"via"][-1] == came.http_version + b" towline"
    named = {
        token.strip().lower() for name, value in came.headers if name == b"connection" for token in value.split(b",")
    }
    own = {b"host", b"connection", b"via", b"keep-alive", b"te", b"upgrade"}

    def end_to_end(event: h11.Request) -> list[tuple[bytes, bytes]]:
        return [
            (name, value) for name, value in event.headers if name not in own | named and not name.startswith(b"proxy-")
        ]

    assert end_to_end(goes) == end_to_end(came)


def next_event(data: bytes) -> h11.Request:
    """The request that a server with h11 reads in `data`."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    connection.receive_data(data)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    return event
