"""What Towline says: no secret, whatever happens, and nothing from the wire that forges a line or drives a terminal."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import yaml
from tests.attacks.conftest import OpenDoor
from tests.attacks.doors import TowlineDoor
from tests.attacks.row import Row, attempt
from tests.attacks.rows import connect, get
from tests.attacks.test_people import answer, credentials

USER, USERS_PASSWORD, WRONG_PASSWORD = "ci", "users-s3cret", "wr0ng-s3cret"
PROXY_USER, FILE_PASSWORD, ENV_PASSWORD, SOCKS_PASSWORD = "tow", "f1le-s3cret", "env-s3cret", "s0cks-s3cret"
ECHOING, SOCKS = ("20.0.2.1", 1080), ("20.0.2.2", 1080)

# Raises with all that a request's task can see: more than any real failure shows.
CRASHING = """\
from towline import serving
def crash(self, client):
    raise RuntimeError(f"{self!r} {client!r} {vars(self.access)!r} {self.access._policy!r} {self.dialers!r}"
                       f"{[vars(dialer) for dialer in self.dialers.values()]!r}")
serving.Serving._admit = crash
from towline.cli.main import main
main()
"""


async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A proxy that refuses, and repeats what it was sent as its reason, and once more decoded."""
    head = await reader.readuntil(b"\r\n\r\n")
    token = re.search(rb"Basic (\S+)", head)
    said = b" ".join([token[1], base64.b64decode(token[1])]) if token else b"who are you"
    writer.write(b"HTTP/1.1 403 " + said + b"\r\nContent-Length: 0\r\n\r\n")
    writer.close()


async def wants_password(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A SOCKS proxy that does not like the password that it was sent."""
    await reader.read(4)
    writer.write(b"\x05\x02")
    await reader.read(512)
    writer.write(b"\x01\x01")
    writer.close()


def spellings(*secrets: str) -> Iterator[bytes]:
    """The secrets as they are, and as the parts of Basic credentials that they make."""
    for secret in secrets:
        yield secret.encode()
        for name in (USER, PROXY_USER):
            yield base64.b64encode(f"{name}:{secret}".encode()).rstrip(b"=")[:-1]


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """A configuration with a secret of each kind."""
    hashed = bcrypt.hashpw(USERS_PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"{USER}:{hashed}\n")
    (tmp_path / "password").write_text(f"{FILE_PASSWORD}\n")
    return {
        "routes": {
            "filed": {
                "proxy": "http://{}:{}".format(*ECHOING),
                "username": PROXY_USER,
                "password_file": str(tmp_path / "password"),
            },
            "environed": {
                "proxy": "http://{}:{}".format(*ECHOING),
                "username": PROXY_USER,
                "password_env": "TOWLINE_TEST_PASSWORD",
            },
            "socks": {
                "proxy": "socks5h://{}:{}".format(*SOCKS),
                "username": PROXY_USER,
                "password_env": "TOWLINE_TEST_SOCKS",
            },
        },
        "policy": {"unlisted": "route", "ports": [443, 80]},
        "access": {"users_file": str(tmp_path / "users")},
    }


def outputs(door: TowlineDoor) -> Iterator[tuple[str, bytes]]:
    """Everything that can be read of a Towline at work, by the name of where."""
    for password in (USERS_PASSWORD, WRONG_PASSWORD):
        head = connect("registry.test:443", credentials(USER, password))
        yield "answer to CONNECT", attempt(door.world, Row(38, "", head), count=False).answer
        head = get("http://registry.test/", credentials(USER, password))
        yield "answer to GET", attempt(door.world, Row(38, "", head), count=False).answer
    for path in ("/", "/api/v1/status", "/api/v1/explain?host=registry.test", "/api/v1/nothing", "/readyz", "/metrics"):
        yield path, answer(door, "GET", path)[1]
    yield "a refusal of the admin side's", answer(door, "POST", "/api/v1/reload", Authorization="Bearer x")[1]
    for argv in (["check"], ["status"], ["status", "--json"], ["explain", "registry.test"], ["reload"]):
        yield " ".join(argv), door.command(*argv, "-c", str(door.config)).encode()
    broken = yaml.safe_load(door.config.read_text())
    broken["routes"]["filed"] |= {"proxy": "ftp://p.example:1", "password": 1}
    broken["access"]["users_file"] = str(broken["routes"]["filed"]["password_file"])
    door.config.write_text(yaml.safe_dump(broken))
    yield "errors of a configuration", door.command("check", "-c", str(door.config)).encode()
    yield "a reload that fails", door.command("reload", "-c", str(door.config)).encode()
    for name in ("cmdline", "comm", "status"):
        yield name, door.world.space.run("sh", "-c", f"cat /proc/*/{name} 2>/dev/null").encode()
    yield "the log", door.process.output().encode()


@pytest.mark.parametrize("crashes", [False, True], ids=["at work", "crashing"])
def test_no_output_has_a_secret(open_door: OpenDoor, settings: dict[str, Any], *, crashes: bool) -> None:
    """No password, no hash and no token is in any output, at debug level, after failures, and in a traceback."""
    env = {"TOWLINE_TEST_PASSWORD": ENV_PASSWORD, "TOWLINE_TEST_SOCKS": SOCKS_PASSWORD}
    program = ("-c", CRASHING) if crashes else ("-m", "towline")
    door = open_door(env=env, program=program, **settings)
    door.world.serve(ECHOING, echoes)
    door.world.serve(SOCKS, wants_password)
    token = next(door.world.space.folder.rglob("admin-*.token")).read_text().strip()
    hashed = Path(settings["access"]["users_file"]).read_text().strip().partition(":")[2]
    secrets = (USERS_PASSWORD, WRONG_PASSWORD, FILE_PASSWORD, ENV_PASSWORD, SOCKS_PASSWORD, token, hashed, hashed[-31:])
    said = list(outputs(door))
    assert ("Traceback" in door.process.output()) is crashes
    assert {"403 from proxy" in door.process.output(), crashes} == {True, False} or crashes
    found = [(where, secret) for where, text in said for secret in spellings(*secrets) if secret in text]
    assert found == []


FORGERIES = (
    connect("evil\x1b[2J.test:443", host=b"h"),
    connect(f"{'a' * 4096}:443", host=b"h"),
    connect("\u202eevil.test:443", host=b"h"),
    connect("evil.test\\n{}:443", host=b"h"),
    connect("registry.test:443", b'User-Agent: \x9b2J"} {"event": "tunnel'),
    connect("registry.test:443", b"Via: 1.1 a\x85b, 1.1 \xe2\x80\xae"),
    connect("evil.test:443", host=b"h"),
    get("http://evil.test/\x7f"),
    get('http://evil.test/"}{'),
    b"\x1b]0;title\x07\r\n\r\n",
)


@pytest.mark.parametrize("form", ["json", "text"])
def test_nothing_from_the_wire_forges_the_log(open_door: OpenDoor, form: str) -> None:
    """Lines stay lines, of plain ASCII and bounded length; and what attackers choose makes no counter of its own."""
    door = open_door(log={"level": "debug", "format": form})
    for sent in FORGERIES:
        attempt(door.world, Row(41, "", sent), count=False)
    for query in ("%0a%1b[2J", "a" * 4096, "%e2%80%ae", "evil.test:99999"):
        status, body = answer(door, "GET", f"/api/v1/explain?host={query}")
        assert status == 400
        assert b"\x1b" not in body
    raw = door.process.log.read_bytes()
    assert re.search(rb"[^\n -~]", raw) is None
    assert max(map(len, raw.splitlines())) < 2048
    counted = door.status()["totals"]["refused"]
    assert set(counted) <= {"bad_request", "bad_target", "no_route", "not_proxied", "head_too_large"}
    if form == "json":
        assert {record["event"] for record in door.records() if record["logger"] == "towline"} <= {
            "route", "listening", "refused", "no_route", "tunnel", "client_left",
        }  # fmt: skip
