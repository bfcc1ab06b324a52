"""A DNS server over HTTPS, with what the server over UDP answers (name_server.py), in HTTP/2 or HTTP/1.1."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import h2.config
import h2.connection
import h2.events
import h11
from tests.net.name_server import Server, Zone

from towline.types import Address

MESSAGE = "application/dns-message"


class DohServer:
    """Listens at `port`. `connections` counts those that were made, by the protocol agreed on."""

    def __init__(
        self,
        zones: Mapping[str, Zone],
        context: ssl.SSLContext,
        *,
        address: Address = ("127.0.0.1", 0),
        status: int = 200,
        body: bytes | None = None,
    ) -> None:
        """`context` has the certificate and the protocols; `status` and `body` are for answers that are none."""
        self.source = Server(zones)
        self.connections: list[str] = []
        self.requests: list[tuple[str, str, str]] = []
        """Method, path and media type."""
        self._left = asyncio.Event()
        self._status = status
        self._body = body
        self._writers: set[asyncio.StreamWriter] = set()
        self._mute: set[asyncio.StreamWriter] = set()
        self._context = context
        self._address = address

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, *self._address, ssl=self._context)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._server.close()
        self.drop()
        await self._server.wait_closed()

    async def until_idle(self) -> None:
        """Return once no connection is open."""
        while self._writers:
            self._left.clear()
            await self._left.wait()

    def drop(self) -> None:
        """Close every connection."""
        for writer in self._writers:
            writer.transport.abort()

    def mute(self) -> None:
        """Answer nothing more over the connections that are open."""
        self._mute |= self._writers

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        agreed = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        self.connections.append(agreed)
        with contextlib.suppress(OSError):
            await (self._serve_h2 if agreed == "h2" else self._serve_h1)(reader, writer)
        self._writers.discard(writer)
        self._left.set()
        writer.transport.abort()

    async def _serve_h1(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        head, question = {}, b""
        while data := await reader.read(4096):
            connection.receive_data(data)
            while not isinstance(event := connection.next_event(), type(h11.NEED_DATA)):
                match event:
                    case h11.Request():
                        head = {name.decode(): value.decode() for name, value in event.headers}
                        head |= {":method": event.method.decode(), ":path": event.target.decode()}
                    case h11.Data():
                        question += event.data
                    case h11.EndOfMessage():
                        body = await self._respond(head, question)
                        headers = [("content-type", MESSAGE), ("content-length", str(len(body)))]
                        writer.write(connection.send(h11.Response(status_code=self._status, headers=headers)) or b"")
                        writer.write(connection.send(h11.Data(data=body)) or b"")
                        writer.write(connection.send(h11.EndOfMessage()) or b"")
                        connection.start_next_cycle()
                        question = b""

    async def _serve_h2(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        heads: dict[int, dict[str, str]] = {}
        questions: dict[int, bytes] = {}
        async with asyncio.TaskGroup() as group:
            while data := await reader.read(4096):
                for event in connection.receive_data(data):
                    match event:
                        case h2.events.RequestReceived(stream_id=int(stream)):
                            heads[stream] = {str(name): str(value) for name, value in event.headers or []}
                            questions[stream] = b""
                        case h2.events.DataReceived(stream_id=int(stream)):
                            questions[stream] += event.data or b""
                        case h2.events.StreamEnded(stream_id=int(stream)):
                            group.create_task(
                                self._respond_h2(connection, writer, stream, heads[stream], questions[stream])
                            )
                writer.write(connection.data_to_send())

    async def _respond_h2(
        self,
        connection: h2.connection.H2Connection,
        writer: asyncio.StreamWriter,
        stream: int,
        head: dict[str, str],
        question: bytes,
    ) -> None:
        if writer in self._mute:
            return
        body = await self._respond(head, question)
        connection.send_headers(stream, [(":status", str(self._status)), ("content-type", MESSAGE)])
        for start in range(0, len(body), 16000):
            connection.send_data(stream, body[start : start + 16000])
        connection.end_stream(stream)
        writer.write(connection.data_to_send())

    async def _respond(self, head: dict[str, str], question: bytes) -> bytes:
        self.requests.append((head[":method"], head[":path"], head["content-type"]))
        answer = await self.source.answer(question, "https")
        return self._body if self._body is not None else answer or b""
