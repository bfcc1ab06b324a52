"""An upstream under TLS (the way to an HTTPS proxy): the same bytes and the same ends, always by copying."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

import pytest
from tests.net.tunnel import Start, TlsPairs, finish, receive, receive_all, reset, send, tcp_pair, until

from towline.net.carriers import COPY_BYTES, TLS_RECORD, CopyCarrier, TlsCarrier
from towline.net.ends import End

TCP_CLOSE_WAIT = 8  # linux/tcp_states.h: FIN received
BODY = bytes(range(256)) * 2000


@pytest.fixture(scope="module")
def tls() -> TlsPairs:
    """One certificate authority for all tests here."""
    return TlsPairs()


async def test_both_directions_carry_megabytes_unchanged(tls: TlsPairs, start: Start) -> None:
    """Records of every size pass both ways at once, whether the relay was given pipes or not."""
    tunnel = start(upstream=await tls())
    assert type(tunnel.relay._down._carrier) is TlsCarrier
    assert type(tunnel.relay._up._carrier) is CopyCarrier
    down, up = BODY * 16, BODY[::-1] * 16
    received = await asyncio.gather(
        receive(tunnel.client, len(down)),
        receive(tunnel.server, len(up)),
        send(tunnel.server, down),
        send(tunnel.client, up),
    )
    assert received[0] == down
    assert received[1] == up


async def test_what_openssl_had_already_decrypted_is_not_forgotten(tls: TlsPairs, start: Start) -> None:
    """A dialer that read half a record leaves the rest where no selector sees it; the first turn fetches it."""
    upstream, server = await tls()
    await send(server, b"HTTP/1.1 200 OK\r\n\r\nearly bytes")
    assert await receive(upstream, 19) == b"HTTP/1.1 200 OK\r\n\r\n"
    assert upstream.pending() == 11
    tunnel = start(upstream=(upstream, server))
    assert await receive(tunnel.client, 11) == b"early bytes"


async def test_a_slow_server_gets_every_byte(tls: TlsPairs, start: Start) -> None:
    """A TLS send that would block is repeated until the server has read on."""
    tunnel = start(upstream=await tls(buffer=1 << 12), buffer=1 << 12)
    _, received = await asyncio.gather(send(tunnel.client, BODY), receive(tunnel.server, len(BODY)))
    assert received == BODY


async def test_a_clients_fin_passes_and_reading_goes_on(tls: TlsPairs, start: Start) -> None:
    """The half-close is TCP's alone, so the TLS state is intact and the reply comes back."""
    tunnel = start(upstream=await tls())
    await send(tunnel.client, b"request")
    finish(tunnel.client)
    assert await receive(tunnel.server, 7) == b"request"
    await until(lambda: tunnel.server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE_WAIT)
    await send(tunnel.server, BODY)  # without reading on: OpenSSL does not write after an end without close_notify
    tunnel.server.close()
    assert await receive_all(tunnel.client) == BODY
    assert (await tunnel.end()).first is End.CLIENT_FIN


@pytest.mark.parametrize("suppressed", [True, False])
async def test_an_end_without_close_notify_is_a_fin(tls: TlsPairs, start: Start, suppressed: bool) -> None:
    """A proxy that just closes is common; Python may call that an error or hide it, and the client sees FIN."""
    upstream, server = await tls()
    upstream.suppress_ragged_eofs = suppressed  # type: ignore[attr-defined] # typeshed lacks it
    tunnel = start(upstream=(upstream, server))
    await send(server, BODY)
    assert await receive(tunnel.client, len(BODY)) == BODY
    finish(server)
    assert await receive_all(tunnel.client) == b""
    tunnel.client.close()
    end = await tunnel.end()
    assert end.first is End.UPSTREAM_FIN
    assert end.reason == ("upstream fin" if suppressed else "upstream fin: without close_notify")


async def test_a_close_notify_behind_the_last_bytes_ends_the_tunnel_without_a_fin(tls: TlsPairs, start: Start) -> None:
    """A proxy that says goodbye and keeps its connection: both come in one read, and no event would follow."""
    upstream, server = await tls()
    await send(server, b"last")
    with pytest.raises(ssl.SSLWantReadError):
        server.unwrap()  # its close_notify is sent, and the other side's awaited
    tunnel = start(upstream=(upstream, server))
    assert await receive_all(tunnel.client) == b"last"
    tunnel.client.close()
    assert (await tunnel.end()).first is End.UPSTREAM_FIN


async def test_a_reset_under_tls_is_a_fin_at_the_client(tls: TlsPairs, start: Start) -> None:
    """RST of the connection to the proxy is no different from RST of a plain one."""
    tunnel = start(upstream=await tls())
    await send(tunnel.server, BODY)
    assert await receive(tunnel.client, len(BODY)) == BODY
    reset(tunnel.server)
    assert await receive_all(tunnel.client) == b""
    tunnel.client.close()
    assert (await tunnel.end()).first is End.UPSTREAM_RESET


async def test_bytes_that_are_not_tls_end_the_tunnel_by_its_upstream(tls: TlsPairs, start: Start) -> None:
    """Garbage where a record should be: the client sees FIN, and the end says what OpenSSL said."""
    upstream, server = await tls()
    tunnel = start(upstream=(upstream, server))
    with socket.socket(fileno=server.detach()) as plain:
        plain.send(b"this is not a TLS record")
        assert await receive_all(tunnel.client) == b""
    tunnel.client.close()
    end = await tunnel.end()
    assert end.first is End.UPSTREAM_ERROR
    assert end.reason.startswith("upstream error: ")


async def test_one_fill_takes_many_records_and_the_end_after_them(tls: TlsPairs) -> None:
    """Records that have arrived are taken together, up to COPY_BYTES; their end comes with the next fill."""
    upstream, server = await tls()
    sink, reader = tcp_pair()
    carrier = TlsCarrier(upstream, sink)
    with upstream, server, sink, reader:
        with pytest.raises(ssl.SSLWantReadError):
            carrier.fill()
        most = 0
        sending = asyncio.create_task(send(server, bytes(8 * COPY_BYTES)))
        while not sending.done():
            await asyncio.sleep(0)
            with suppress(ssl.SSLWantReadError):
                most = max(most, carrier.fill())
        assert TLS_RECORD < most < COPY_BYTES + TLS_RECORD
        with suppress(ssl.SSLWantReadError):
            while True:
                carrier.fill()
        await send(server, b"last")
        server.close()
        assert carrier.fill() == 4
        assert carrier.goes_on
        assert carrier.fill() == 0


async def test_an_error_found_behind_records_is_raised_by_the_next_fill(tls: TlsPairs) -> None:
    """The kernel tells an error once; it is kept until the bytes before it are given."""
    upstream, server = await tls()
    sink, reader = tcp_pair()
    carrier = TlsCarrier(upstream, sink)
    with upstream, sink, reader:
        await send(server, b"last")
        reset(server)
        assert carrier.fill() == 4
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                carrier.fill()
