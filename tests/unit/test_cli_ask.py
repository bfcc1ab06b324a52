from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.web.fakes import EXPLAINED, TOKEN, FakeRunning

from towline.admin.serve import AdminServer
from towline.cli.ask import ask
from towline.cli.configuration import AdminSide
from towline.errors import AdminError
from towline.system import admin_token
from towline.types import Address, Secret

type Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def stranger(body: bytes) -> AsyncIterator[Address]:
    """A server that answers everything with `body` and closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()


async def asked(address: Address, path: str = "/api/v1/status") -> dict[str, object]:
    """`ask` beside the loop that answers."""
    return await asyncio.to_thread(ask, AdminSide(address), path)


@pytest.fixture
async def admin() -> AsyncIterator[Address]:
    """The address of a real admin server."""
    server = AdminServer.bind(FakeRunning(), ("127.0.0.1", 0), obtain_token=lambda: TOKEN)
    await server.serve()
    yield server.address
    await server.stop()


async def test_answer_is_the_object(admin: Address) -> None:
    """What the admin address gives, parsed."""
    assert (await asked(admin))["version"] == "1.2.3"
    assert await asked(admin, "/api/v1/explain?host=ghcr.io") == EXPLAINED


async def test_proxy_variables_are_not_followed(admin: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell whose http_proxy points to Towline, or to nowhere, asks the admin address directly."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await asked(admin))["version"] == "1.2.3"


async def test_refusal_has_its_reason(admin: Address) -> None:
    """A 4xx is told in the words of the answer."""
    with pytest.raises(AdminError, match="the IPv4 address is not in its canonical form"):
        await asked(admin, "/api/v1/explain?host=127.1")


async def test_nobody_there(admin: Address) -> None:
    """Where, why, and what to do."""
    with pytest.raises(AdminError) as caught:
        await asked(("127.0.0.1", 1))
    assert str(caught.value) == (
        "no Towline answers at 127.0.0.1:1: Connection refused\n"
        "hint: start it with `towline run`, or name its admin address with --admin"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\n\r\n[1]",
        b"HTTP/1.1 200 OK\r\n\r\n\xff",
        b"HTTP/1.1 200 OK\r\n\r\nnull",
        b"HTTP/1.1 404 Not Found\r\n\r\n404 page not found",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"",
    ],
)
async def test_stranger_is_told(body: bytes) -> None:
    """Something else on that port is not mistaken for Towline, and its text is not shown."""
    async with stranger(body) as address:
        with pytest.raises(AdminError, match=r"is not a Towline|no Towline answers") as caught:
            await asked(address)
    assert "OpenSSH" not in str(caught.value)


async def test_refusal_of_a_stranger_is_escaped() -> None:
    """An error text from the other side drives no terminal."""
    body = b'HTTP/1.1 500 x\r\n\r\n{"error": "\\u001b[2Jgone"}'
    async with stranger(body) as address:
        with pytest.raises(AdminError) as caught:
            await asked(address)
    assert str(caught.value) == r"\x1b[2Jgone"


WRONG = Secret("x" * 43)  # a token that a Towline which was killed left


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The two files in which tokens are looked for, neither of them there."""
    found = tmp_path / "first", tmp_path / "second"
    monkeypatch.setattr(admin_token, "places", lambda _port: found)
    return found


def keep(path: Path, token: Secret) -> None:
    """A token file."""
    path.write_text(token.reveal())
    path.chmod(0o600)


async def drained(admin: Address, token_file: Path | None = None) -> dict[str, object]:
    """What a write answers."""
    side = AdminSide(admin, token_file)
    return await asyncio.to_thread(ask, side, "/api/v1/routes/vpn/drain", method="POST")


async def test_token_is_found(admin: Address, places: tuple[Path, Path]) -> None:
    """In the first place, or in the next where the first has the token of another Towline."""
    keep(places[0], TOKEN)
    assert (await drained(admin))["in_use"] == ["direct"]
    keep(places[0], WRONG)
    keep(places[1], TOKEN)
    assert (await drained(admin))["in_use"] == ["direct"]


async def test_operators_token_file_alone(admin: Address, places: tuple[Path, Path], tmp_path: Path) -> None:
    """Where the configuration names a file, no other is looked at."""
    keep(places[0], TOKEN)
    keep(tmp_path / "own", TOKEN)
    assert (await drained(admin, tmp_path / "own"))["in_use"] == ["direct"]
    with pytest.raises(AdminError, match=f"looked for in {tmp_path}/none\nhint: "):
        await drained(admin, tmp_path / "none")


async def test_no_token_opens(admin: Address, places: tuple[Path, Path]) -> None:
    """Missing or wrong: where it was looked for, and who to be; never what was found."""
    for found in (False, True):
        if found:
            keep(places[0], WRONG)
        with pytest.raises(AdminError) as caught:
            await drained(admin)
        assert str(caught.value) == (
            f"no admin token opens 127.0.0.1:{admin[1]}; looked for in {places[0]}, {places[1]}\n"
            "hint: run this as the user that Towline runs as (sudo -u USER), and in its container if it has one"
        )


async def test_token_that_may_not_be_read(
    admin: Address, places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is named, and sudo."""

    def denied(_path: Path) -> Secret:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(admin_token, "read", denied)
    with pytest.raises(AdminError) as caught:
        await drained(admin)
    assert str(caught.value).startswith(
        f"the admin token of 127.0.0.1:{admin[1]} may not be read by this user: {places[0]}\nhint: "
    )
    assert str(caught.value).endswith(", or as root")


async def test_token_stays_at_home_where_it_is_not_asked_for(places: tuple[Path, Path]) -> None:
    """What answers at the address gets no token with a request that needs none."""
    keep(places[0], TOKEN)
    heads = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        await asked(server.sockets[0].getsockname())
    assert b"authorization" not in heads[0].lower()
