"""Attacks by those who may connect: guessed passwords, and the admin side asked by a browser or a stranger."""

from __future__ import annotations

import asyncio
import base64
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt
import pytest
from tests.attacks.conftest import OpenDoor
from tests.attacks.doors import TowlineDoor
from tests.attacks.row import Row, Seen, attempt
from tests.attacks.rows import connect
from tests.attacks.world import ADMIN_PORT, CLIENT

NAME, PASSWORD = "ci", "correct-horse"
GUESSES = 300
ADMIN = f"127.0.0.1:{ADMIN_PORT}"


def credentials(name: str, password: str) -> bytes:
    """The field that Docker sends."""
    return b"Proxy-Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode())


def ask(door: TowlineDoor, *fields: bytes) -> Seen:
    """CONNECT to the registry with these fields."""
    return attempt(door.world, Row(37, "", connect("registry.test:443", *fields)), count=False)


@pytest.fixture
def users_file(tmp_path: Path) -> str:
    """One user, with a hash that takes a moment."""
    path = tmp_path / "users"
    path.write_text(f"{NAME}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(8)).decode()}\n")
    return str(path)


@pytest.fixture
def door(open_door: OpenDoor, users_file: str) -> TowlineDoor:
    """A Towline that asks for a password."""
    return open_door(access={"users_file": users_file})


def test_who_is_not_let_in(door: TowlineDoor) -> None:
    """No password, a wrong one, one too long, another scheme, or bytes that are none: 407, closed, nothing dialled."""
    tries = {
        "none": (),
        "wrong": (credentials(NAME, "wrong"),),
        "unknown": (credentials("nobody", PASSWORD),),
        "huge": (credentials(NAME, "x" * 9000),),
        "Bearer": (b"Proxy-Authorization: Bearer abc",),
        "no Base64": (b"Proxy-Authorization: Basic \xff\xfe",),
        "empty": (b"Proxy-Authorization: Basic",),
    }
    for name, fields in tries.items():
        seen = ask(door, *fields)
        assert (name, seen.status, seen.is_closed, seen.arrived) == (name, 407, True, ())
        assert b"\r\nProxy-Authenticate: Basic" in seen.answer
    twice = ask(door, credentials(NAME, PASSWORD), credentials(NAME, "wrong"))
    assert (twice.status, twice.is_closed) == (400, True)
    assert ask(door, credentials(NAME, PASSWORD)).status == 200
    assert "Traceback" not in door.process.output()


def test_guessing(door: TowlineDoor) -> None:
    """Of hundreds of guesses ten are checked, and the log has a line a second; a password that was right stays so."""
    assert ask(door, credentials(NAME, PASSWORD)).status == 200
    since = len(door.records())
    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        seen = list(pool.map(lambda n: ask(door, credentials(NAME, f"guess-{n}")), range(GUESSES)))
    assert {one.status for one in seen} == {407}
    checked = sum(b"wrong name or password" in one.answer for one in seen)
    assert 1 <= checked <= 10
    assert ask(door, credentials(NAME, PASSWORD)).status == 200
    lines = [record for record in door.records()[since:] if record["event"] == "refused"]
    assert 1 <= len(lines) <= 1 + time.monotonic() - began
    assert door.status()["totals"]["refused"]["users"] == GUESSES


def test_a_password_goes_no_further(open_door: OpenDoor, users_file: str) -> None:
    """The client's password is for Towline: neither a registry nor the route's proxy sees it."""
    door = open_door(access={"users_file": users_file})
    mine = credentials(NAME, PASSWORD)
    get = (
        b"GET http://registry.test/ HTTP/1.1\r\nHost: registry.test\r\nProxy-Connection: close\r\n" + mine + b"\r\n\r\n"
    )
    plain = attempt(door.world, Row(37, "", get), count=False)
    assert plain.status == 200
    ((_, arrived),) = plain.arrived
    assert b"GET / HTTP/1.1" in arrived
    assert b"proxy-" not in arrived.lower()
    assert mine.split()[-1] not in arrived

    sent: list[bytes] = []

    async def keeps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 No\r\n\r\n")
        writer.close()

    routes, policy = {"office": {"proxy": "http://20.0.2.1:1080"}}, {"unlisted": "route"}
    other = open_door(access={"users_file": users_file}, routes=routes, policy=policy)
    other.world.serve(("20.0.2.1", 1080), keeps)
    assert ask(other, mine).status == 502
    assert b"CONNECT registry.test:443" in sent[0]
    assert b"proxy-" not in sent[0].lower()


def answer(door: TowlineDoor, method: str, path: str, host: str = ADMIN, **headers: str) -> tuple[int, bytes]:
    """Status and body; no answer lets another origin read it."""
    with door.world.asking() as connection:
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": host, "Content-Length": "0", **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        assert not [name for name, _ in response.getheaders() if name.lower().startswith("access-control-")]
        return response.status, response.read()


def test_admin_side(towline: TowlineDoor) -> None:
    """A rebound page, another origin, no token or a wrong one, a path with dots: refused, and nothing changes."""
    token = next(towline.world.space.folder.rglob("admin-*.token"))
    assert token.stat().st_mode & 0o077 == 0
    bearer = f"Bearer {token.read_text().strip()}"
    drain = "/api/v1/routes/direct/drain"
    for host in ("evil.test", f"evil.test:{ADMIN_PORT}", f"{ADMIN}.evil.test", "", f"127.0.0.1:{ADMIN_PORT + 1}"):
        assert answer(towline, "GET", "/api/v1/status", host)[0] in {400, 403}
        assert answer(towline, "POST", drain, host, Authorization=bearer)[0] in {400, 403}
    assert answer(towline, "POST", drain)[0] == 401
    assert answer(towline, "POST", drain, Authorization="Bearer " + "x" * 43)[0] == 401
    assert answer(towline, "POST", drain, Authorization=bearer, Origin="http://evil.test")[0] == 403
    assert answer(towline, "POST", drain, Authorization=bearer, Sec_Fetch_Site="cross-site")[0] == 403
    assert answer(towline, "GET", drain, Authorization=bearer)[0] == 405
    for path in (
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//evil.test/",
        "/api/v1/routes/../reload/drain",
    ):
        status, body = answer(towline, "GET", path)
        assert status in {400, 404, 405}
        assert b"root:" not in body
    assert [route["draining"] for route in towline.status()["routes"]] == [False]
    assert CLIENT not in answer(towline, "GET", "/readyz")[1].decode()
