"""`towline reload`: have the running Towline read its configuration again, and say what came of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from towline.admin.text import escape
from towline.cli.ask import ask, reading
from towline.cli.configuration import AdminSide, admin_option, admin_side, config_option
from towline.errors import AdminError
from towline.types import Address, Target

if TYPE_CHECKING:
    from towline.views import ReloadView

TIMEOUT = 5.0  # seconds for the reload, which takes some tens of milliseconds
POLL = 0.05  # seconds between two looks at whether it is done


@click.command()
@admin_option
@config_option
@click.pass_context
def reload(ctx: click.Context, path: Path | None, admin: Address | None) -> None:
    """Have the running Towline read its configuration again. Prints what changed.

    Nothing changes where the configuration has problems; they are printed then (exit code 78). Open tunnels of routes
    that stay are not touched.
    """
    side = admin_side(path, admin)
    answer = ask(side, "/api/v1/status")
    with reading(side.address):
        pid, count = int(answer["pid"]), int(answer["reload"]["count"])
    _ask_process(pid, side.address)
    done = _await_reload(side, count)
    if not done.ok:
        for problem in done.problems:
            click.echo("\n".join(map(escape, problem.split("\n"))), err=True)
        ctx.exit(os.EX_CONFIG)
    click.echo("\n".join(_summary(done)))


def _ask_process(pid: int, address: Address) -> None:
    """Send SIGHUP to the process that listens on `address`, and to no other. Raises AdminError.

    An admin address that is forwarded, out of a container for one, answers with a pid that is another process here.
    """
    import psutil

    try:
        if not any(connection.laddr.port == address[1] for connection in _listeners(pid)):
            text = f"what answers at {Target(*address).authority} is process {pid} of another machine or container"
            raise AdminError(f"{text}\nhint: run `towline reload` there, or send it SIGHUP")
        os.kill(pid, signal.SIGHUP)
    except (psutil.AccessDenied, PermissionError):
        raise AdminError(f"Towline (process {pid}) belongs to another user\nhint: use sudo") from None


def _listeners(pid: int) -> list[Any]:
    """The listening TCP sockets of a process, as psutil has them; none where there is no such process."""
    import psutil

    try:
        found = psutil.Process(pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return []
    return [connection for connection in found if connection.status == psutil.CONN_LISTEN]


def _await_reload(side: AdminSide, before: int) -> ReloadView:
    """The first reload after the `before`th. Raises AdminError where there is none in TIMEOUT seconds."""
    from towline.cli.snapshot import parse_reload

    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        time.sleep(POLL)
        answer = ask(side, "/api/v1/status")
        with reading(side.address):
            done = parse_reload(answer["reload"])
        if done.count > before:
            return done
    raise AdminError(f"no reload within {TIMEOUT:g} s\nhint: is it stopping? `towline status` and its log say more")


def _summary(done: ReloadView) -> Iterator[str]:
    lists = {name: getattr(done, name) for name in ("added", "removed", "changed", "kept", "settings")}
    yield "reloaded" if any(names for name, names in lists.items() if name != "kept") else "reloaded: nothing changed"
    for name, names in lists.items():
        if names:
            yield f"  {name:<8}  {escape(', '.join(names))}"
    for key in done.restart:
        yield f"  {escape(key)} needs a restart"
