"""Bytes of one tunnel and of many: exact, in order, in bounded memory, and without a busy loop."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from contextlib import suppress

import pytest
from tests.net.tunnel import Start, Tunnel, finish, receive, receive_all, reset, send

from towline.net import direction, relay
from towline.net.carriers import COPY_BYTES
from towline.net.direction import FILLS, STREAM
from towline.net.ends import End
from towline.net.pipes import GIVE_WAY, PIPE_BYTES, PipePool
from towline.net.relay import YOUNG, Relay

MIB = 1 << 20


def pattern(seed: int, size: int) -> bytes:
    """`size` bytes that no other seed makes."""
    return hashlib.shake_128(seed.to_bytes(4)).digest(size)


async def test_both_directions_carry_megabytes_at_once_unchanged(tunnel: Tunnel) -> None:
    """What either side sends arrives at the other byte for byte, while both send."""
    down, up = pattern(1, 8 * MIB), pattern(2, 8 * MIB + 1)
    received = await asyncio.gather(
        receive(tunnel.client, len(down)),
        receive(tunnel.server, len(up)),
        send(tunnel.server, down),
        send(tunnel.client, up),
    )
    assert received[0] == down
    assert received[1] == up
    assert (tunnel.relay.bytes_in, tunnel.relay.bytes_out) == (len(down), len(up))


async def test_bytes_read_before_the_relay_began_go_first(start: Start) -> None:
    """The first flight and a route's early bytes lead their directions, and are counted."""
    tunnel = start(to_upstream=b"hello, ", to_client=b"early, ")
    await send(tunnel.client, b"upstream")
    await send(tunnel.server, b"client")
    assert await receive(tunnel.server, 15) == b"hello, upstream"
    assert await receive(tunnel.client, 13) == b"early, client"
    assert (tunnel.relay.bytes_in, tunnel.relay.bytes_out) == (13, 15)


async def test_a_head_larger_than_every_queue_arrives_whole(start: Start) -> None:
    """Bytes given at the start wait for a slow sink like any others."""
    head = pattern(3, 3 * MIB)
    tunnel = start(to_client=head, buffer=1 << 14)
    await send(tunnel.server, b"tail")
    assert await receive(tunnel.client, len(head) + 4) == head + b"tail"


async def test_a_slow_reader_gets_every_byte(start: Start) -> None:
    """A client that takes a few hundred bytes at a time misses nothing, even once the server has closed."""
    tunnel = start(buffer=1 << 13)
    body = pattern(4, 300_000)

    async def serve() -> None:
        await send(tunnel.server, body)
        tunnel.server.close()

    async def read_slowly() -> bytes:
        received = bytearray()
        while data := await receive(tunnel.client, 997):
            received += data
        return bytes(received)

    received, _ = await asyncio.gather(read_slowly(), serve())
    assert received == body
    tunnel.client.close()
    assert (await tunnel.end()).first is End.UPSTREAM_FIN


async def test_a_client_that_does_not_read_is_waited_for_in_bounded_memory(tunnel: Tunnel) -> None:
    """The server is held back, at most one carrier's worth is held, and nothing is lost when the client reads on."""
    sent = await tunnel.block_client()
    with suppress(BlockingIOError):
        while True:
            sent += b"z" * tunnel.server.send(b"z" * MIB)
    await asyncio.sleep(0)
    assert tunnel.relay._down._carrier.held <= max(PIPE_BYTES, COPY_BYTES)
    assert tunnel.relay.queued_in >= tunnel.relay._down._carrier.held > 0
    assert not tunnel.running.done()
    assert await receive(tunnel.client, len(sent)) == sent


async def test_one_turn_moves_a_few_carriers_worth(
    start: Start, pipes: PipePool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket with megabytes to read keeps the loop for what is held and FILLS fills, and for one where it copies."""
    moved: list[int] = []
    turn = Relay._turn

    def watched(relay: Relay, event: object) -> None:
        before = relay.bytes_in
        turn(relay, event)  # type: ignore[arg-type]
        moved.append(relay.bytes_in - before)

    monkeypatch.setattr(Relay, "_turn", watched)
    tunnel = start()
    body = bytes(16 * MIB)
    await asyncio.gather(send(tunnel.server, body), receive(tunnel.client, len(body)))
    assert sum(moved) == len(body)
    assert max(moved) <= ((1 + FILLS) * PIPE_BYTES if pipes else COPY_BYTES)


async def test_two_hundred_tunnels_at_once_never_mix(start: Start) -> None:
    """Each of 200 tunnels carries its own pattern both ways, many of them through the same pipes."""
    tunnels = [start(buffer=1 << 14) for _ in range(200)]
    size = 60_000

    async def exchange(number: int, tunnel: Tunnel) -> None:
        down, up = pattern(2 * number, size), pattern(2 * number + 1, size)
        received = await asyncio.gather(
            receive(tunnel.client, size),
            receive(tunnel.server, size),
            send(tunnel.server, down),
            send(tunnel.client, up),
        )
        assert received[0] == down
        assert received[1] == up

    await asyncio.gather(*(exchange(number, tunnel) for number, tunnel in enumerate(tunnels)))


async def test_an_aborted_tunnels_bytes_never_reach_the_next_one(start: Start) -> None:
    """Bytes held when a client resets are gone with their pipe: tunnels that follow see only their own."""
    for _ in range(3):
        broken = start()
        await broken.block_client()
        reset(broken.client)
        assert (await broken.end()).first is End.CLIENT_RESET
        await broken.close()
    following = start()
    await send(following.server, b"mine")
    await send(following.client, b"yours")
    assert await receive(following.client, 4) == b"mine"
    assert await receive(following.server, 5) == b"yours"
    finish(following.server)
    finish(following.client)
    assert await receive_all(following.client) == b""
    assert await receive_all(following.server) == b""
    await following.close()


@pytest.mark.parametrize("is_push", [False, True], ids=["pull", "push"])
async def test_others_give_way_to_the_first_bytes_alone(
    start: Start, pipes: PipePool | None, monkeypatch: pytest.MonkeyPatch, *, is_push: bool
) -> None:
    """A handshake and a first answer make turns short; a layer that is under way does not, whichever way it goes."""
    if pipes is None:
        pytest.skip("without splice(2) turns are always short")
    asked: list[int] = []
    tunnel = start()

    def moved() -> int:
        return tunnel.relay.bytes_out if is_push else tunnel.relay.bytes_in

    source, sink = (tunnel.client, tunnel.server) if is_push else (tunnel.server, tunnel.client)
    monkeypatch.setattr(pipes, "give_way", lambda: asked.append(moved()))
    await send(source, b"first bytes")
    assert await receive(sink, 11) == b"first bytes"
    assert asked[-1] == 11
    await asyncio.gather(send(source, bytes(MIB)), receive(sink, MIB))
    assert moved() > YOUNG > max(asked)


async def test_an_idle_tunnel_holds_no_pipe(tunnel: Tunnel, pipes: PipePool | None) -> None:
    """Between bursts every pipe is back in the pool, and one served both directions."""
    await send(tunnel.server, b"x" * 10_000)
    await receive(tunnel.client, 10_000)
    await send(tunnel.client, b"y" * 10_000)
    await receive(tunnel.server, 10_000)
    if pipes:
        assert pipes._lent == 0
        assert len(pipes._idle) == 1


async def test_tunnels_beyond_the_pool_copy() -> None:
    """With the only pipe lent to a blocked tunnel, the next one moves its bytes all the same."""
    pool = PipePool(limit=1)
    blocked, other = Tunnel.start(pool), Tunnel.start(pool)
    sent = await blocked.block_client()
    body = pattern(5, 2 * MIB)
    _, received = await asyncio.gather(send(other.server, body), receive(other.client, len(body)))
    assert received == body
    assert await receive(blocked.client, len(sent)) == sent
    await other.close()
    await blocked.close()
    pool.close()


@pytest.mark.skipif(not hasattr(socket, "IPPROTO_MPTCP"), reason="no MPTCP here")
async def test_an_mptcp_upstream_is_relayed(start: Start) -> None:
    """The upstream of a multipath route is an MPTCP socket; it splices like TCP."""
    try:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
    except OSError:
        pytest.skip("the kernel has no MPTCP")
    with listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        leg = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
        leg.connect(listener.getsockname())
        server, _ = listener.accept()
    leg.setblocking(False)
    server.setblocking(False)
    tunnel = start(upstream=(leg, server))
    body = pattern(6, 3 * MIB)
    _, received = await asyncio.gather(send(server, body), receive(tunnel.client, len(body)))
    assert received == body
    await send(tunnel.client, body)


async def test_times_say_when_bytes_moved(tunnel: Tunnel) -> None:
    """last_in is upstream's last byte, last_out the client's, last_activity the later one."""
    relay = tunnel.relay
    began = relay.last_in
    assert relay.last_out == relay.last_activity == began
    await send(tunnel.client, b"hello")
    await receive(tunnel.server, 5)
    assert relay.last_activity == relay.last_out > relay.last_in == began
    await send(tunnel.server, b"a")
    await receive(tunnel.client, 1)
    assert relay.last_activity == relay.last_in > relay.last_out


async def test_who_asked_is_called_once_when_something_moves(tunnel: Tunnel) -> None:
    """By the next bytes of either side, and by no others; the last who asked is the one."""
    called: list[str] = []
    tunnel.relay.call_when_moving(lambda: called.append("first"))
    tunnel.relay.call_when_moving(lambda: called.append("last"))
    assert called == []
    for sender, receiver in ((tunnel.client, tunnel.server), (tunnel.server, tunnel.client)):
        await send(sender, b"hello")
        await receive(receiver, 5)
    assert called == ["last"]


async def test_a_stream_that_rests_arrives_and_ends(tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes in a rest arrives after it, together, and so does FIN."""
    monkeypatch.setattr(direction, "REST", 1.0)
    monkeypatch.setattr(relay, "REST", 1.0)
    for number in range(STREAM + 2):
        await send(tunnel.server, pattern(number, 100))
        assert await receive(tunnel.client, 100) == pattern(number, 100)
    assert tunnel.relay._rest is not None
    await send(tunnel.server, b"more")
    tunnel.server.shutdown(socket.SHUT_WR)
    assert await receive_all(tunnel.client) == b"more"


async def test_an_answer_does_not_wait_for_a_rest(tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request ends the rest of the direction that its answer comes by."""
    monkeypatch.setattr(direction, "REST", 60.0)
    monkeypatch.setattr(relay, "REST", 60.0)
    for number in range(4 * STREAM):
        await send(tunnel.client, b"request")
        assert await receive(tunnel.server, 7) == b"request"
        await send(tunnel.server, pattern(number, 100))
        assert await receive(tunnel.client, 100) == pattern(number, 100)


async def test_the_queue_toward_the_client_empties_when_it_reads(tunnel: Tunnel) -> None:
    """queued_in counts what the relay holds and what the kernel holds, down to zero."""
    sent = await tunnel.block_client()
    assert 0 < tunnel.relay.queued_in <= len(sent)
    assert await receive(tunnel.client, len(sent)) == sent
    assert tunnel.relay.queued_in == 0


async def quiet(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often the loop woke up for a descriptor in 50 ms in which nobody does anything."""
    woken = 0
    select = loop._selector.select  # type: ignore[attr-defined]

    def counted(timeout: float | None = None) -> list[object]:
        nonlocal woken
        events: list[object] = select(timeout)
        woken += 1
        return events

    await asyncio.sleep(2 * GIVE_WAY)  # what is on its way arrives, and nobody gives way to it any more
    with monkeypatch.context() as patch:
        patch.setattr(loop._selector, "select", counted)  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
    return woken


@pytest.mark.parametrize("state", ["idle", "blocked", "blocked, server fin", "blocked, server reset", "client fin"])
async def test_a_waiting_tunnel_wakes_nobody(tunnel: Tunnel, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a tunnel waits for, it does so asleep, even with a hang-up pending that epoll would report for ever."""
    if "blocked" in state:
        await tunnel.block_client()
    if "server fin" in state:
        tunnel.server.close()
    if "server reset" in state:
        reset(tunnel.server)
    if "client fin" in state:
        finish(tunnel.client)
        assert await receive_all(tunnel.server) == b""
    assert await quiet(asyncio.get_running_loop(), monkeypatch) <= 3
    assert not tunnel.running.done()


async def test_a_released_tunnel_whose_client_does_not_read_wakes_nobody(
    tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for a client to take the last bytes costs nothing either."""
    await tunnel.block_client()
    tunnel.relay.release()
    assert await quiet(asyncio.get_running_loop(), monkeypatch) <= 3


async def test_a_bug_in_a_turn_ends_the_tunnel(tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is raised by run(), with both sockets closed, rather than lost in the loop."""
    await send(tunnel.client, b"x")
    await receive(tunnel.server, 1)
    monkeypatch.setattr(Relay, "_settle", lambda _: 1 // 0)
    await send(tunnel.client, b"y")
    with pytest.raises(ZeroDivisionError):
        await tunnel.end()
    assert await receive_all(tunnel.client) == b""
