"""`towline probe`: what every route makes of a registry, now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from towline.admin.text import escape
from towline.cli.ask import ask, reading
from towline.cli.configuration import admin_side, asking_options
from towline.cli.explain import MAX_LINE, parse_target
from towline.cli.layout import byte_count
from towline.errors import AdminError
from towline.types import Address, Target

TIMEOUT = 120.0  # seconds: routes are read over one after the other, and a dead one takes some of them
HEAD = ("ROUTE", "ROLE", "DIAL", "FIRST BYTE", "RATE")
LEFT = 2  # columns that are flush left; numbers are flush right


@click.command()
@click.argument("target", metavar="[HOST[:PORT]]", required=False, callback=parse_target)
@asking_options
@click.pass_context
def probe(
    ctx: click.Context, target: Target | None, path: Path | None, admin: Address | None, *, as_json: bool
) -> None:
    """Probe a registry over every route.

    Without HOST, the registries in use. The exit code is 1 where no route reaches one. Asks the running Towline, which
    wants its admin token: run this as the user that Towline runs as, or as root.
    """
    side = admin_side(path, admin)
    query = "" if target is None else f"?{urlencode({'host': target.authority})}"
    answer = ask(side, f"/api/v1/probe{query}", method="POST", timeout=TIMEOUT)
    with reading(side.address):
        probed = list(answer["probed"])
        text = "\n\n".join("\n".join(_lines(one)) for one in probed)
        reached = all(_is_reached(one) for one in probed)
    if not probed:
        raise AdminError("no registry is in use\nhint: name one, as in towline probe registry-1.docker.io")
    click.echo(json.dumps(answer, indent=2) if as_json else text)
    ctx.exit(0 if reached else 1)


def _is_reached(probed: dict[str, Any]) -> bool:
    return any(found["ok"] and found["target"] == probed["target"] for found in probed["findings"])


def _lines(probed: dict[str, Any]) -> Iterator[str]:
    yield escape(f"{probed['target']}, {probed['role']} of {probed['registry']}")
    rows = [tuple(map(escape, _cells(found))) for found in probed["findings"]]
    widths = [max(map(len, cells)) for cells in zip(HEAD, *rows, strict=True)]
    yield f"{_row(HEAD, widths)}  VERDICT"
    for row, found in zip(rows, probed["findings"], strict=True):
        verdict = found["detail"] if found["ok"] else f"failed: {found['detail']}"
        line = f"{_row(row, widths)}  {escape(verdict, MAX_LINE)}"
        yield line if found["ok"] else click.style(line, fg="red")
    for route, reason in probed["excluded"]:
        yield f"{escape(route)}: left out, {escape(reason, MAX_LINE)}"


def _cells(found: dict[str, Any]) -> tuple[str, ...]:
    rate = found["rate_bytes_per_second"]
    return (
        found["route"],
        found["role"],
        _time(found["dial_seconds"]),
        _time(found["first_byte_seconds"]),
        "-" if rate is None else f"{byte_count(round(rate))}/s",
    )


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    left = [f"{cell:<{width}}" for cell, width in zip(cells[:LEFT], widths, strict=False)]
    right = [f"{cell:>{width}}" for cell, width in zip(cells[LEFT:], widths[LEFT:], strict=True)]
    return "  ".join((*left, *right))
