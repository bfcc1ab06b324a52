"""`towline probe` against an admin server that plays the running Towline."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs
from tests.web.fakes import PROBED, TOKEN, FakeRunning

from towline.admin.serve import AdminServer
from towline.cli.main import main
from towline.system import admin_token
from towline.types import Target
from towline.views import ProbedView


class FakeProbed(FakeRunning):
    """Found what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.found = [PROBED]

    async def probe(self, host: str | None, port: int) -> list[ProbedView]:
        return self.found


@pytest.fixture
def running() -> FakeProbed:
    """What the command reaches."""
    return FakeProbed()


@pytest.fixture
async def admin(running: FakeProbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """HOST:PORT of its admin server, whose token lies where the command looks."""
    (tmp_path / "token").write_text(TOKEN.reveal())
    (tmp_path / "token").chmod(0o600)
    monkeypatch.setattr(admin_token, "places", lambda _port: (tmp_path / "token",))
    server = AdminServer.bind(running, ("127.0.0.1", 0), obtain_token=lambda: TOKEN)
    await server.serve()
    with capture_logs():  # structlog prints to stdout until it is configured
        yield Target(*server.address).authority
    await server.stop()


async def probe(admin: str, *args: str) -> Result:
    """The command, beside the loop that answers it."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["probe", *args, "--admin", admin])


async def test_table(admin: str) -> None:
    """One line for each host over each route, then the routes that may not serve it."""
    result = await probe(admin, "ghcr.io")
    assert (result.exit_code, result.stderr) == (0, "")
    assert (
        result.stdout
        == """\
ghcr.io:443, api of ghcr
ROUTE   ROLE   DIAL  FIRST BYTE       RATE  VERDICT
vpn     api   12 ms       14 ms          -  answers as a registry (401)
vpn     blob  13 ms       15 ms  3.2 MiB/s  a blob at 3.4 MB/s
direct  api       -           -          -  failed: timeout 5.0 s
office: left out, disabled in the configuration
"""
    )


async def test_json(admin: str) -> None:
    """As it came."""
    result = await probe(admin, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json.loads(json.dumps({"probed": [asdict(PROBED)]}))


async def test_no_route_reaches_it(running: FakeProbed, admin: str) -> None:
    """1 where that is so of one host, whatever was found of others."""
    dead = replace(PROBED, findings=tuple(found for found in PROBED.findings if found.route == "direct"))
    running.found = [PROBED, dead]
    result = await probe(admin)
    assert result.exit_code == 1
    assert result.stdout.count("ROUTE") == 2


async def test_only_the_blobs_are_reached(running: FakeProbed, admin: str) -> None:
    """The host itself is what was asked about."""
    running.found = [replace(PROBED, target="registry.test:443")]
    assert (await probe(admin, "registry.test")).exit_code == 1


async def test_nothing_is_in_use(running: FakeProbed, admin: str) -> None:
    """1, and what to do."""
    running.found = []
    result = await probe(admin)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: no registry is in use\nhint: name one, as in towline probe registry-1.docker.io\n"


async def test_hostile_text_is_escaped(running: FakeProbed, admin: str) -> None:
    """What a host says drives no terminal."""
    hostile = replace(PROBED.findings[0], detail="\x1b[2J", route="a\nb")
    running.found = [replace(PROBED, findings=(hostile,), excluded=(("x", "\x1b[31m"),))]
    result = await probe(admin)
    assert "\x1b" not in result.stdout
    assert len(result.stdout.splitlines()) == 4


def test_host_that_is_none() -> None:
    """2, before anything is asked."""
    result = CliRunner().invoke(main, ["probe", "127.1"])
    assert result.exit_code == 2
    assert "canonical form" in result.stderr
