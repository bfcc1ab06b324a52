"""A crowd of hostile clients as a program of its own: python crowd.py KIND NUMBER, until it is ended.

    idle       NUMBER connections that send nothing
    slow       NUMBER connections that send a head of one byte a second, again and again
    storm      NUMBER connects within a second, each with a CONNECT and gone after its answer; the same 4 s later
    endless    NUMBER connections at once that send a head without end, again and again; 50 MB each, or what is taken
    unread     NUMBER tunnels to a server that never stops sending, of which nothing is read

It says `ready` once it is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Awaitable, Callable

PROXY = ("127.0.0.1", 3128)
SOURCE = ("127.9.9.9", 0)
REQUEST = b"CONNECT 20.0.0.5:443 HTTP/1.1\r\nHost: 20.0.0.5:443\r\n\r\n"
FLOODING = b"CONNECT 20.0.0.5:8443 HTTP/1.1\r\nHost: 20.0.0.5:8443\r\n\r\n"
FILLER = b"X-Filler: " + b"x" * 8000 + b"\r\n"
ENDLESS = 50 << 20  # bytes
PAUSE = 0.05  # seconds before somebody who was turned away comes again
STORM_EVERY = 5.0  # seconds

type Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


async def meet(client: Client, limit: int = 1 << 16) -> None:
    """Connect, and be this client until the end."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection(*PROXY, local_addr=SOURCE, limit=limit)
        with contextlib.closing(writer):
            await client(reader, writer)


async def again(client: Client) -> None:
    """Be this client again and again."""
    while True:
        await meet(client)
        await asyncio.sleep(PAUSE)


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Send nothing."""
    await reader.read()


async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a byte a second, until there is an answer."""
    answered = asyncio.get_running_loop().create_task(reader.read())
    for byte in itertools.chain(REQUEST[:-2], itertools.repeat(0x61)):
        writer.write(bytes([byte]))
        if (await asyncio.wait({answered}, timeout=1))[0]:
            return


async def brief(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ask for a tunnel and leave once it is there."""
    writer.write(REQUEST)
    await reader.readuntil(b"\r\n\r\n")


async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send fields."""
    writer.write(REQUEST[:-2])
    for _ in range(ENDLESS // len(FILLER)):
        writer.write(FILLER)
        await writer.drain()


async def unread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Have a tunnel and stop reading."""
    writer.write(FLOODING + b"x")
    await reader.readexactly(1)
    await asyncio.Event().wait()


async def storm(number: int) -> None:
    """So many briefly, evenly within a second."""
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for count in range(number):
                group.create_task(meet(brief))
                await asyncio.sleep(max(0.0, began + (count + 1) / number - loop.time()))
        await asyncio.sleep(max(0.0, began + STORM_EVERY - loop.time()))


async def main(kind: str, number: int) -> None:
    """Be the crowd."""
    clients: dict[str, Client] = {"slow": slow, "endless": endless, "unread": unread}
    async with asyncio.TaskGroup() as group:
        if kind == "storm":
            group.create_task(storm(number))
        else:
            for _ in range(number):
                group.create_task(meet(silent) if kind == "idle" else again(clients[kind]))
        await asyncio.sleep(1.0)  # by when all have connected, where the proxy accepts
        print("ready", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
