"""How a tunnel ends: what the other side sees, what the end is called, and that nothing is left open.

RST or FIN at the client decides whether a pull survives, so each is observed on a real socket: receive_all() raises
ConnectionResetError where the client would see RST.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from tests.net.tunnel import LIMITS, Start, Tunnel, finish, receive, receive_all, reset, send, until

from towline.core.tls import TAIL, ended_cleanly
from towline.net.ends import End
from towline.net.relay import Relay, RelayLimits

BODY = bytes(range(256)) * 2000


def age(relay: Relay, seconds: float) -> None:
    """Put all that moved further into the past."""
    relay._down.last_at -= seconds
    relay._up.last_at -= seconds


async def send_for_ever(sock: socket.socket) -> None:
    """Send until the peer resets."""
    while True:
        await send(sock, BODY)


async def test_a_servers_fin_reaches_the_client_and_the_client_may_go_on(tunnel: Tunnel) -> None:
    """Half-close from upstream: the client reads to the end, then still sends, and its FIN ends the tunnel."""
    await send(tunnel.server, BODY)
    finish(tunnel.server)
    assert await receive_all(tunnel.client) == BODY
    await send(tunnel.client, b"still here")
    assert await receive(tunnel.server, 10) == b"still here"
    finish(tunnel.client)
    assert await receive_all(tunnel.server) == b""
    end = await tunnel.end()
    assert (end.first, end.reason) == (End.UPSTREAM_FIN, "upstream fin")
    assert (end.bytes_in, end.bytes_out) == (len(BODY), 10)
    assert tunnel.relay.tail == BODY[-TAIL:]
    assert tunnel.relay.client_tail == b"still here"


async def test_an_end_can_be_told_from_a_cut(start: Start) -> None:
    """The last bytes are kept whole, so that a close_notify is recognised (clients.md A.8)."""
    close_notify = bytes.fromhex("17 03 03 00 13") + bytes(19)
    for last, clean in ((close_notify, True), (b"a body cut in the mid", False)):
        tunnel = start()
        await send(tunnel.server, BODY)
        assert await receive(tunnel.client, len(BODY)) == BODY
        await send(tunnel.server, last)
        assert await receive(tunnel.client, len(last)) == last
        finish(tunnel.server)
        finish(tunnel.client)
        await tunnel.end()
        assert tunnel.relay.tail.endswith(last)
        assert ended_cleanly(tunnel.relay.tail) is clean


async def test_a_clients_fin_reaches_the_server_and_its_reply_comes_back(tunnel: Tunnel) -> None:
    """Half-close from the client: the reply that mitmproxy, squid and tinyproxy lose is delivered (faults.md 0.12)."""
    await send(tunnel.client, b"request")
    finish(tunnel.client)
    assert await receive_all(tunnel.server) == b"request"
    await send(tunnel.server, BODY)
    tunnel.server.close()
    assert await receive_all(tunnel.client) == BODY
    assert (await tunnel.end()).first is End.CLIENT_FIN


async def test_a_servers_reset_reaches_the_client_as_fin_after_every_byte(tunnel: Tunnel) -> None:
    """containerd resumes after FIN and gives up after RST, so an upstream RST is never passed on."""
    await send(tunnel.server, BODY)
    assert await receive(tunnel.client, 1) == BODY[:1]
    await until(lambda: tunnel.relay.bytes_in == len(BODY))  # RST would forget what the server had not sent yet
    reset(tunnel.server)
    assert await receive_all(tunnel.client) == BODY[1:]
    tunnel.client.close()
    end = await tunnel.end()
    assert (end.first, end.reason) == (End.UPSTREAM_RESET, "upstream reset: Connection reset by peer")


async def test_bytes_received_before_a_reset_are_delivered_to_a_client_that_was_blocked(tunnel: Tunnel) -> None:
    """The kernel keeps what it had received when RST comes; a client that reads late still gets it, then FIN."""
    sent = await tunnel.block_client()
    reset(tunnel.server)
    received = await receive_all(tunnel.client)
    assert sent.startswith(received)
    assert len(received) > tunnel.relay.bytes_out
    tunnel.client.close()
    assert (await tunnel.end()).first is End.UPSTREAM_RESET


async def test_a_reset_with_client_bytes_on_the_way_is_a_clean_end_too(tunnel: Tunnel) -> None:
    """Bytes that the client sent in vain are read and dropped: left unread they would turn the close into RST."""
    await send(tunnel.server, BODY)
    await until(lambda: tunnel.relay.bytes_in == len(BODY))
    reset(tunnel.server)
    await send(tunnel.client, bytes(4 << 20))  # more than any queue takes, so the relay does read on
    assert await receive_all(tunnel.client) == BODY
    finish(tunnel.client)
    assert (await tunnel.end()).first is End.UPSTREAM_RESET
    assert await receive_all(tunnel.client) == b""


async def test_a_server_that_closes_with_unread_bytes_is_a_clean_end_too(tunnel: Tunnel) -> None:
    """A server that answers early and closes resets its connection; the client still gets the answer and FIN."""
    await send(tunnel.client, b"x" * 10_000)
    await receive(tunnel.server, 1)
    await send(tunnel.server, b"413 too large")
    tunnel.server.close()
    assert await receive_all(tunnel.client) == b"413 too large"
    tunnel.client.close()
    assert (await tunnel.end()).first is End.UPSTREAM_RESET


async def test_an_upload_that_the_server_resets_ends_cleanly(tunnel: Tunnel) -> None:
    """RST noticed by a write to upstream (EPIPE) is handled like one noticed by a read."""
    uploading = asyncio.create_task(send(tunnel.client, bytes(32 << 20)))
    await receive(tunnel.server, 1 << 20)
    reset(tunnel.server)
    await uploading
    assert await receive_all(tunnel.client) == b""
    tunnel.client.close()
    assert (await tunnel.end()).first is End.UPSTREAM_RESET


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux only")
async def test_an_upstream_that_times_out_reaches_the_client_as_fin(tunnel: Tunnel) -> None:
    """ETIMEDOUT from the kernel: bytes that the server never acknowledged (here: would not receive, for 1 ms)."""
    tunnel.relay._upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1)
    await send(tunnel.client, bytes(32 << 20))
    assert await receive_all(tunnel.client) == b""
    tunnel.client.close()
    end = await tunnel.end()
    assert (end.first, end.reason) == (End.UPSTREAM_TIMEOUT, "upstream timeout: Connection timed out")


async def test_a_clients_reset_closes_the_upstream_at_once(tunnel: Tunnel) -> None:
    """Nobody is left to receive: the server sees its connection end without waiting for anything."""
    await send(tunnel.client, b"request")
    assert await receive(tunnel.server, 7) == b"request"
    reset(tunnel.client)
    assert await receive_all(tunnel.server) == b""
    end = await tunnel.end()
    assert (end.first, end.reason) == (End.CLIENT_RESET, "client reset: Connection reset by peer")


async def test_a_client_that_closes_mid_body_closes_the_upstream(tunnel: Tunnel) -> None:
    """close() with unread bytes, as containerd does after each chunk: its RST is noticed even while the relay sends."""
    await tunnel.block_client()
    tunnel.client.close()
    assert (await tunnel.end()).first is End.CLIENT_RESET
    with pytest.raises(ConnectionError):
        await send_for_ever(tunnel.server)


async def test_a_client_that_closes_politely_and_gets_more_closes_the_upstream(tunnel: Tunnel) -> None:
    """FIN first, then RST in answer to bytes it no longer wants: the first end is the FIN."""
    tunnel.client.close()
    assert await receive_all(tunnel.server) == b""
    with pytest.raises(ConnectionError):
        await send_for_ever(tunnel.server)
    assert (await tunnel.end()).first is End.CLIENT_FIN


async def test_release_gives_the_client_what_was_read_then_fin(tunnel: Tunnel) -> None:
    """The upstream is closed at once, the client gets its bytes to the last one read, and closes when it wants."""
    sent = await tunnel.block_client()
    read = tunnel.relay.bytes_in + tunnel.relay._down._carrier.held
    tunnel.relay.release()
    assert tunnel.relay._upstream.fileno() == -1
    assert await receive_all(tunnel.client) == sent[:read]
    await send(tunnel.client, BODY)
    assert not tunnel.running.done()
    finish(tunnel.client)
    end = await tunnel.end()
    assert (end.first, end.reason, end.bytes_in, end.bytes_out) == (End.RELEASED, "released", read, 0)


async def test_release_twice_or_late_or_early_changes_nothing(start: Start) -> None:
    """Released before it ran, again while it lingers, and once more after its end: one clean end."""
    tunnel = start(to_client=b"last words")
    tunnel.relay.release()
    assert await receive_all(tunnel.client) == b"last words"
    tunnel.relay.release()
    finish(tunnel.client)
    assert (await tunnel.end()).first is End.RELEASED
    tunnel.relay.release()


async def test_release_after_the_server_ended_keeps_the_first_end(tunnel: Tunnel) -> None:
    """A tunnel that upstream had ended already is still called by that end."""
    finish(tunnel.server)
    assert await receive_all(tunnel.client) == b""
    tunnel.relay.release()
    finish(tunnel.client)
    assert (await tunnel.end()).first is End.UPSTREAM_FIN


async def test_linger_ends_a_tunnel_whose_client_does_not_close(start: Start) -> None:
    """A client that keeps its connection, and even keeps sending, is dropped `linger` seconds after the FIN."""
    tunnel = start(limits=RelayLimits(linger=0.05, half_closed=60))
    tunnel.relay.release()
    sending = asyncio.create_task(send_for_ever(tunnel.client))
    assert await receive_all(tunnel.client) == b""
    assert (await tunnel.end()).first is End.RELEASED
    with pytest.raises(ConnectionError):
        await sending


@pytest.mark.parametrize("ending", ["reset", "fin", "release"])
async def test_a_client_that_reads_late_is_waited_for_beyond_every_limit(start: Start, ending: str) -> None:
    """podman unpacking a layer may take its time: linger and half_closed begin when it has everything."""
    tunnel = start(limits=RelayLimits(linger=0.01, half_closed=0.01))
    sent = await tunnel.block_client()
    match ending:
        case "reset":
            reset(tunnel.server)
        case "fin":
            finish(tunnel.server)
        case "release":
            tunnel.relay.release()
    await asyncio.sleep(0.1)  # ten times over each limit
    assert not tunnel.running.done()
    received = await receive_all(tunnel.client)
    assert sent == received if ending == "fin" else sent.startswith(received)
    await tunnel.end()


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_silent_half_closed_tunnel_is_ended(start: Start, side: str) -> None:
    """A side that neither speaks nor closes after the other's FIN does not keep the tunnel for ever."""
    tunnel = start(limits=RelayLimits(linger=60, half_closed=0.05))
    finish(tunnel.client if side == "client" else tunnel.server)
    assert await receive_all(tunnel.server if side == "client" else tunnel.client) == b""
    end = await tunnel.end()
    assert end.first is End.IDLE_HALF_CLOSED
    first = "client fin" if side == "client" else "upstream fin"
    assert end.reason == f"idle half-closed: {first}, then nothing for 0.05 s"
    assert await receive_all(tunnel.client) == b""


async def test_a_half_closed_tunnel_that_moves_lives_on(tunnel: Tunnel) -> None:
    """When time is up, only silence since the last byte counts; what is missing to half_closed is waited out."""
    relay = tunnel.relay
    finish(tunnel.client)
    assert await receive_all(tunnel.server) == b""
    await send(tunnel.server, b"piece")
    assert await receive(tunnel.client, 5) == b"piece"
    assert relay._cause
    age(relay, 20)
    relay._time_is_up(relay._cause)
    assert relay._timer
    assert relay._timer.when() == pytest.approx(asyncio.get_running_loop().time() + LIMITS.half_closed - 20, abs=1)
    age(relay, 40)
    relay._time_is_up(relay._cause)
    assert (await tunnel.end()).first is End.IDLE_HALF_CLOSED


@pytest.mark.parametrize("state", ["idle", "blocked", "lingering"])
async def test_cancellation_closes_everything(tunnel: Tunnel, state: str) -> None:
    """run() passes the cancellation on with both sockets closed and no timer, watch or pipe left behind."""
    if state == "blocked":
        await tunnel.block_client()
    if state == "lingering":
        tunnel.relay.release()
    await asyncio.sleep(0)
    tunnel.running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await tunnel.end()
    assert tunnel.relay._client.fileno() == tunnel.relay._upstream.fileno() == -1
    assert not tunnel.relay._watched
    assert tunnel.relay._timer is None or tunnel.relay._timer.cancelled()


async def test_a_cancelled_tunnels_client_gets_fin_through_a_duplicate(start: Start) -> None:
    """The client's descriptor may be a duplicate whose original stays open elsewhere: FIN is sent all the same."""
    tunnel = start()
    original = tunnel.relay._client.dup()
    await asyncio.sleep(0)
    tunnel.running.cancel()
    assert await receive_all(tunnel.client) == b""
    original.close()


@pytest.mark.parametrize(
    ("how", "expected"),
    [(finish, End.UPSTREAM_FIN), (reset, End.UPSTREAM_RESET)],
    ids=["fin", "reset"],
)
async def test_the_first_end_is_told_before_the_client_can_know(
    start: Start, how: Callable[[socket.socket], None], expected: End
) -> None:
    """`on_end` is called once, while the client's side is still whole: it may be back at once."""
    told: list[End] = []
    tunnel = start(on_end=told.append)
    await send(tunnel.server, b"body")
    assert await receive(tunnel.client, 4) == b"body"
    how(tunnel.server)
    assert await receive_all(tunnel.client) == b""
    assert told == [expected]
    finish(tunnel.client)
    await tunnel.end()
    assert told == [expected]


async def test_a_reset_reaches_the_client_as_one(tunnel: Tunnel) -> None:
    """reset() ends the client's side with RST, for the clients that resume after nothing else."""
    await send(tunnel.server, b"body")
    assert await receive(tunnel.client, 4) == b"body"
    tunnel.relay.reset()
    with pytest.raises(ConnectionResetError):
        await receive_all(tunnel.client)
    assert (await tunnel.end()).first is End.RELEASED


async def test_a_reset_at_a_clients_own_end_is_harmless(start: Start) -> None:
    """reset() from within `on_end` when nobody is left to be reset: the tunnel ends once, by its client."""
    relays: list[Relay] = []
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: logged.append(context))
    tunnel = start(on_end=lambda _end: relays[0].reset())
    relays.append(tunnel.relay)
    reset(tunnel.client)
    assert (await tunnel.end()).first is End.CLIENT_RESET
    assert not logged


async def test_a_cut_can_be_passed_on_as_reset(start: Start) -> None:
    """reset() from within `on_end` takes the place of the FIN."""
    relays: list[Relay] = []
    tunnel = start(on_end=lambda _end: relays[0].reset())
    relays.append(tunnel.relay)
    reset(tunnel.server)
    with pytest.raises(ConnectionResetError):
        await receive_all(tunnel.client)
    assert (await tunnel.end()).first is End.UPSTREAM_RESET
