"""`towline drain` and `towline resume` against an admin server that plays the running Towline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs
from tests.web.fakes import TOKEN, FakeRunning

from towline.admin.serve import AdminServer
from towline.cli import drain as command
from towline.cli.main import main
from towline.system import admin_token
from towline.types import Target
from towline.views import Snapshot


class FakeDrain(FakeRunning):
    """Its tunnels end one by one, as it is looked at."""

    def snapshot(self) -> Snapshot:
        routes = tuple(replace(route, tunnels=max(0, route.tunnels - 1)) for route in self.shown.routes)
        self.shown = replace(self.shown, routes=routes)
        return self.shown


@pytest.fixture
def running() -> FakeDrain:
    """What the commands reach: `direct` with one tunnel, and `vpn` without."""
    return FakeDrain()


@pytest.fixture
async def admin(running: FakeDrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """HOST:PORT of its admin server, whose token lies where the command looks."""
    (tmp_path / "token").write_text(TOKEN.reveal())
    (tmp_path / "token").chmod(0o600)
    monkeypatch.setattr(admin_token, "places", lambda _port: (tmp_path / "token",))
    monkeypatch.setattr(command, "POLL", 0.01)
    server = AdminServer.bind(running, ("127.0.0.1", 0), obtain_token=lambda: TOKEN)
    await server.serve()
    with capture_logs():  # structlog prints to stdout until it is configured
        yield Target(*server.address).authority
    await server.stop()


async def invoke(admin: str, *args: str) -> Result:
    """The command, beside the loop that answers it."""
    return await asyncio.to_thread(CliRunner().invoke, main, [*args, "--admin", admin])


async def test_drain_and_resume(running: FakeDrain, admin: str) -> None:
    """What becomes of the route, how many tunnels it has, and which routes are in use again."""
    result = await invoke(admin, "drain", "direct")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "direct gets no new tunnels; 1 tunnel is open\n"
    assert running.drained == ["direct"]
    result = await invoke(admin, "resume", "direct")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "in use: direct, vpn\n", "")
    assert running.drained == []


async def test_last_route_is_warned_of(admin: str) -> None:
    """It is done, and said what that means and how to end it."""
    await invoke(admin, "drain", "direct")
    result = await invoke(admin, "drain", "vpn")
    assert (result.exit_code, result.stdout) == (0, "vpn gets no new tunnels; no tunnels are open\n")
    assert result.stderr == "warning: no route is in use: requests are refused (503) until `towline resume vpn`\n"


async def test_drain_waits_for_the_last_tunnel(running: FakeDrain, admin: str) -> None:
    """With --wait the command ends with the last tunnel, as a script wants it before it takes the route away."""
    direct, vpn = running.shown.routes
    running.shown = replace(running.shown, routes=(replace(direct, tunnels=3), vpn))
    result = await invoke(admin, "drain", "direct", "--wait")
    assert result.stdout == "direct gets no new tunnels; 3 tunnels are open\ndirect is drained\n"
    assert running.shown.routes[0].tunnels == 0


@pytest.mark.parametrize("name", ["other", "oth er", "../status", "%2e%2e", "\x1b[2J", "direct/resume?"])
async def test_route_that_does_not_exist(admin: str, name: str) -> None:
    """1, where their names are, and nothing of this one on the terminal; it reaches no other path."""
    result = await invoke(admin, "drain", name)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: there is no route of this name; `towline status` lists them\n"
