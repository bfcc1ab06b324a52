"""Requests to the admin side as bytes, so that nothing corrects what a test gets wrong on purpose."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from towline.admin.serve import AdminServer
from towline.types import Address

DEADLINE = 5.0  # seconds for an answer on loopback


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def raw(address: Address, request: bytes) -> Answer:
    """Send `request` as it is and read the answer to its end."""
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(request)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    first, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    return Answer(int(first.split()[1]), headers, body.decode())


async def ask(server: AdminServer, path: str, *fields: str, method: str = "GET", host: str | None = None) -> Answer:
    """A request with this path and these fields, and with the Host of the server itself where none is given."""
    host = host or f"127.0.0.1:{server.address[1]}"
    head = "\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {host}", *fields))
    return await raw(server.address, f"{head}\r\n\r\n".encode())
