"""The keys of one route as a RouteSpec, with the password and the CA bundle that they name.

Files are looked for from the folder of the configuration file. Messages name the key and never what it says: an
operator who writes the password itself where its file or variable is asked for must not find it in a log.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from towline.config.files import RELATIVE, read_text
from towline.config.keys import RouteKeys
from towline.config.values import MAX_SOCKS, Invalid
from towline.types import RouteKind, RouteSpec, Secret

MAX_SECRET = 4096  # bytes of a password file: more is no password


class Fault(NamedTuple):
    """A key whose file or variable cannot be used, and why."""

    key: str
    error: Invalid


def route_spec(name: str, keys: RouteKeys, *, base: Path, environ: Mapping[str, str]) -> tuple[RouteSpec, list[Fault]]:
    """The route, and what is wrong with the files and variables that it names; then it is not to be used."""
    kind, address = keys.proxy or (RouteKind.DIRECT, None)
    faults: list[Fault] = []
    password = None
    try:
        password = _password(keys, base, environ)
    except Invalid as error:
        faults.append(Fault("password_file" if keys.password_file else "password_env", error))
    ca_file = None if keys.ca_file is None else base / keys.ca_file
    try:
        _check_ca_file(ca_file)
    except Invalid as error:
        faults.append(Fault("ca_file", error))
    spec = RouteSpec(
        name=name,
        kind=kind,
        interface=keys.interface,
        source=keys.source,
        mark=keys.mark,
        proxy=address,
        username=keys.username,
        password=password,
        ca_file=None if ca_file is None else str(ca_file),
        dns=keys.dns,
        cost=keys.cost,
        registries=keys.registries,
        disabled=keys.disabled,
    )
    return spec, faults


def _password(keys: RouteKeys, base: Path, environ: Mapping[str, str]) -> Secret | None:
    """The password that `password_file` or `password_env` names. Raises Invalid."""
    if keys.password_file is not None:
        text = _read_secret(base / keys.password_file)
    elif keys.password_env is not None:
        text = environ.get(keys.password_env, "")
        if not text:
            raise Invalid("the environment has no such variable, or it is empty")
    else:
        return None
    if not text.isprintable():  # RFC 7617 section 2 has no control characters
        raise Invalid("the password has a control character in it, or more than one line")
    if keys.proxy and keys.proxy.is_socks and len(text.encode()) > MAX_SOCKS:
        raise Invalid(f"the password is longer than the {MAX_SOCKS} bytes that SOCKS5 carries")
    return Secret(text)


def _read_secret(path: Path) -> str:
    """The one line of a password file, without its line end."""
    text = read_text(path, limit=MAX_SECRET).removesuffix("\n").removesuffix("\r")
    if not text:
        raise Invalid("the file is empty")
    return text


def _check_ca_file(path: Path | None) -> None:
    """Raise Invalid unless certificates can be loaded from `path`."""
    if path is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise Invalid("no PEM certificates in it") from None
    except OSError as error:
        raise Invalid(f"cannot be read: {error.strerror}", RELATIVE) from None
