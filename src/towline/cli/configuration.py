"""Where the configuration comes from, for every command alike.

    1. -c FILE, or the environment's TOWLINE_CONFIG
    2. $XDG_CONFIG_HOME/towline/towline.yaml (~/.config where that is not set), then /etc/towline/towline.yaml
    3. none: zero configuration

A file that is named must be there; of the places under 2 the first that holds one is taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from towline.errors import AdminError
from towline.types import Address, Target, TargetError

if TYPE_CHECKING:
    from towline.config import Config  # pydantic is what `status` starts without

ENVIRONMENT = "TOWLINE_CONFIG"
FILE = Path("towline", "towline.yaml")
DEFAULT_ADMIN: Address = ("127.0.0.1", 3129)
"""Held equal to config.py's own by a test: taking it from there would cost `status` the import of pydantic."""

_HINT = "hint: name the admin address with --admin HOST:PORT"

config_option = click.option(
    "-c",
    "--config",
    "path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=f"The configuration file. Without it: {ENVIRONMENT}, the usual places, or zero configuration.",
)


def _parse_address(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Address | None:
    if text is None:
        return None
    try:
        target = Target.parse(text)
    except TargetError as error:
        raise click.BadParameter(f"{error} (as in 127.0.0.1:3129)") from None
    return target.host, target.port


admin_option = click.option(
    "--admin", metavar="HOST:PORT", callback=_parse_address, help="The admin address, instead of the file's."
)


def asking_options[F: Callable[..., Any]](command: F) -> F:
    """The options of a command that shows what the running Towline answers: `path`, `admin`, `as_json`."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print the JSON that the admin address gave.")
    for option in (as_json, admin_option, config_option):
        command = option(command)
    return command


def find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file: the one that was named, else the first usual place that holds one, else None."""
    if path is not None:
        return path
    if environ.get(ENVIRONMENT):
        return Path(environ[ENVIRONMENT])
    return next(filter(_is_present, _usual_places(environ)), None)


def _usual_places(environ: Mapping[str, str]) -> Iterator[Path]:
    base = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", ""), ".config"))
    if base.is_absolute():  # the XDG base directory specification has relative paths ignored
        yield base / FILE
    yield Path("/etc") / FILE


def _is_present(place: Path) -> bool:
    """False only where there is nothing.

    A place that may not be looked into counts: reading it will say so, where passing over it would let the defaults
    silently take the place of a file that somebody wrote.
    """
    try:
        place.lstat()
    except OSError as error:
        return not isinstance(error, FileNotFoundError | NotADirectoryError)
    return True


def load(path: Path | None, *, own: Sequence[Address] = ()) -> Config:
    """The configuration from `path` or the usual places, with what this machine offers. Raises ConfigError.

    `own` are addresses that are listened on without being in the file: a proxy variable that names one is no route.
    """
    from towline import config
    from towline.net import discover

    return config.load(find(path, os.environ), environ=os.environ, discovered=discover.routes(os.environ, own=own))


def load_and_log(path: Path | None, *, own: Sequence[Address] = ()) -> Config:
    """As `load`, and the log set up as it says; until that is known the default serves, since discovery speaks."""
    from towline.admin import log
    from towline.config import LogPolicy

    log.configure(LogPolicy())
    config = load(path, own=own)
    log.configure(config.log)
    return config


@dataclass(frozen=True, slots=True)
class AdminSide:
    """Where the running Towline is asked, and the file with its token where the operator chose one."""

    address: Address
    token_file: Path | None = None


def admin_side(path: Path | None, address: Address | None) -> AdminSide:
    """Where to ask: at `address` where it is given, else where the configuration has it. Raises AdminError.

    The file's `admin` and `admin_token_file` alone are read: other keys may name secrets that this user cannot read, or
    may have been broken since the start.
    """
    file = find(path, os.environ)
    try:
        document = {} if file is None else _mapping(file)
    except AdminError:
        if address is None:
            raise
        document = {}  # what is asked for stands on the command line
    token_file = document.get("admin_token_file")
    return AdminSide(
        address or _address(document, file),
        None if file is None or token_file is None else file.absolute().parent / str(token_file),
    )


def _mapping(file: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise AdminError(f"{file} cannot be read: {error.strerror}\n{_HINT}") from error
    except yaml.YAMLError as error:
        raise AdminError(f"{file} is not YAML: run `towline check`\n{_HINT}") from error
    return document if isinstance(document, dict) else {}


def _address(document: Mapping[str, Any], file: Path | None) -> Address:
    if "admin" not in document:
        return DEFAULT_ADMIN
    if document["admin"] is None:
        raise AdminError(f"the admin side is off (`admin: null` in {file})\nhint: give `admin` an address and restart")
    try:
        target = Target.parse(str(document["admin"]))
    except TargetError as error:
        raise AdminError(f"{file}: admin: {error}\n{_HINT}") from error
    return target.host, target.port
