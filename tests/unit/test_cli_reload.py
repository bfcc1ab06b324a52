"""`towline reload` against an admin server that plays the running Towline; its signals are real, to this process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs
from tests.web.fakes import SNAPSHOT, FakeRunning

from towline.admin.serve import AdminServer
from towline.cli import reload as command
from towline.cli.main import main
from towline.types import Target
from towline.views import ReloadView


class FakeReloads(FakeRunning):
    """Answers SIGHUP with the next of `results`, its count one higher than the last."""

    def __init__(self) -> None:
        super().__init__(replace(SNAPSHOT, pid=os.getpid()))
        self.results: list[ReloadView] = []

    def hung_up(self) -> None:
        count = self.shown.reload.count + 1
        self.shown = replace(self.shown, reload=replace(self.results.pop(0), count=count))


@pytest.fixture
async def running() -> AsyncIterator[FakeReloads]:
    """What SIGHUP reaches."""
    fake = FakeReloads()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, fake.hung_up)
    yield fake
    loop.remove_signal_handler(signal.SIGHUP)


@pytest.fixture
async def admin(running: FakeReloads) -> AsyncIterator[str]:
    """HOST:PORT of its admin server."""
    server = AdminServer.bind(running, ("127.0.0.1", 0))
    await server.serve()
    with capture_logs():  # structlog prints to stdout until it is configured
        yield Target(*server.address).authority
    await server.stop()


async def reload(admin: str) -> Result:
    """The command, beside the loop that answers it."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["reload", "--admin", admin])


async def test_what_changed_is_printed(running: FakeReloads, admin: str) -> None:
    """Routes by what became of them, other sections, and what waits for a restart."""
    running.results = [
        ReloadView(
            ok=True,
            added=("tagged", "far"),
            changed=("office\x1b[2J",),
            kept=("direct",),
            settings=("limits",),
            restart=("admin",),
        )
    ]
    result = await reload(admin)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "reloaded",
        "  added     tagged, far",
        "  changed   office\\x1b[2J",
        "  kept      direct",
        "  settings  limits",
        "  admin needs a restart",
    ]


async def test_nothing_changed(running: FakeReloads, admin: str) -> None:
    """It is said so, which tells a forgotten save from a change that did nothing."""
    running.results = [ReloadView(ok=True, kept=("direct", "vpn"))]
    result = await reload(admin)
    assert (result.exit_code, result.stdout) == (0, "reloaded: nothing changed\n  kept      direct, vpn\n")


async def test_problems_are_78(running: FakeReloads, admin: str) -> None:
    """Each on stderr with its place and hint; a second reload is not taken for the first."""
    problems = ("t.yaml:3: routes.vpn.interfce: unknown key\n  hint: did you mean interface?", "t.yaml:9: \x1b[2J: no")
    running.results = [ReloadView(ok=False, problems=problems), ReloadView(ok=True)]
    result = await reload(admin)
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.splitlines() == [
        "t.yaml:3: routes.vpn.interfce: unknown key",
        "  hint: did you mean interface?",
        r"t.yaml:9: \x1b[2J: no",
    ]
    assert (await reload(admin)).exit_code == 0


async def test_admin_address_from_the_file(running: FakeReloads, admin: str, tmp_path: Path) -> None:
    """-c says where the running one is asked, as for the other commands."""
    running.results = [ReloadView(ok=True)]
    file = tmp_path / "towline.yaml"
    file.write_text(f"admin: '{admin}'\n")
    result = await asyncio.to_thread(CliRunner().invoke, main, ["reload", "-c", str(file)])
    assert (result.exit_code, running.shown.reload.count) == (0, 1)


def test_nobody_there_is_1() -> None:
    """What, where and a hint on stderr, as the other commands have it."""
    result = CliRunner().invoke(main, ["reload", "--admin", "127.0.0.1:1"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: no Towline answers at 127.0.0.1:1: Connection refused\nhint: ")


async def test_stranger_is_not_signalled(running: FakeReloads, admin: str) -> None:
    """A pid that does not listen there is another process: the admin address comes out of a container."""
    pipe = asyncio.subprocess.PIPE
    stranger = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=pipe)
    running.shown = replace(running.shown, pid=stranger.pid)
    result = await reload(admin)
    await stranger.communicate(b"\n")
    assert stranger.returncode == 0, "SIGHUP would have ended it"
    expected = f"error: what answers at {admin} is process {stranger.pid} of another machine or container\nhint: "
    assert (result.exit_code, result.stderr.startswith(expected)) == (1, True)


async def test_pid_that_does_not_exist(running: FakeReloads, admin: str) -> None:
    """Likewise where no process here has it."""
    running.shown = replace(running.shown, pid=2**22 + 1)  # above the kernel's highest pid_max
    result = await reload(admin)
    assert (result.exit_code, "of another machine or container" in result.stderr) == (1, True)


async def test_process_of_another_user(running: FakeReloads, admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sockets cannot be seen, and it could not be signalled."""

    def denied(_self: psutil.Process, _kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "net_connections", denied)
    result = await reload(admin)
    expected = f"error: Towline (process {os.getpid()}) belongs to another user\nhint: use sudo\n"
    assert (result.exit_code, result.stderr) == (1, expected)


async def test_no_reload_in_time(admin: str, running: FakeReloads, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not come is not waited for for ever."""
    monkeypatch.setattr(command, "TIMEOUT", 0.2)
    monkeypatch.setattr(running, "hung_up", None)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: None)
    result = await reload(admin)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: no reload within 0.2 s\nhint: is it stopping?")


async def test_another_version_is_told(running: FakeReloads, admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer without what a reload needs is not acted upon."""
    monkeypatch.setattr(command, "ask", lambda _side, _path: {"version": "0.0.1"})
    result = await reload(admin)
    assert (result.exit_code, "is not a Towline" in result.stderr) == (1, True)
    assert running.shown.reload.count == 0
