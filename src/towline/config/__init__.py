"""The configuration: one YAML file to one frozen value, or every problem with it at once.

    load(path) -> parse(text) -> document.py   text to plain data with the line of every key
                                 keys.py       types, bounds, defaults (values.py: addresses, names, proxies)
                                 validate.py   the data against the keys, every problem in plain words
                                 checks.py     what keys mean for each other
                                 routes.py     routes with their passwords and CA bundles
                              -> Config

Everything after this module works with values that cannot be wrong any more. config/towline.yaml shows every key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from towline.catalogue import load_catalogue
from towline.config.access import access_policy
from towline.config.checks import DIRECT, check, leads_home
from towline.config.document import MAX_BYTES, Document, read, too_long
from towline.config.files import CLOSE_IT, OPEN_TO_ALL, is_open_to_all
from towline.config.keys import DEFAULT_ADMIN, DEFAULT_LISTEN, LogPolicy, RouteKeys
from towline.config.routes import route_spec
from towline.config.validate import validate
from towline.core.classify import RegistrySpec
from towline.core.policy import AccessPolicy, FailoverPolicy, HealthPolicy, LimitsPolicy, StallPolicy, TargetPolicy
from towline.errors import ConfigError, Problem
from towline.types import Address, RouteSpec

__all__ = ["DEFAULT_ADMIN", "DEFAULT_LISTEN", "Config", "LogPolicy", "load", "parse", "with_offers"]


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that can be used as it is."""

    path: str | None
    """The file it came from; None for zero configuration."""
    listen: tuple[Address, ...]
    """Where the proxy listens: IP addresses in canonical form."""
    admin: Address | None
    """Where the admin side listens; None is off."""
    admin_hosts: frozenset[str]
    """Further names that a request to the admin side may have in Host."""
    admin_token_file: Path | None
    """The operator's token for the admin side; None is one that Towline makes."""
    state: Path | Literal["auto"] | None
    """The folder of what outlives the process; `auto` is the usual one, None is none."""
    routes: tuple[RouteSpec, ...]
    """Every route in the file's order, the disabled ones too."""
    offered: bool
    """The file names no routes: they are `direct` and what the machine offers."""
    registries: tuple[RegistrySpec, ...]
    """The operator's registries, to be laid over the built-in catalogue (Catalogue.with_overrides)."""
    policy: TargetPolicy
    access: AccessPolicy
    failover: FailoverPolicy
    stall: StallPolicy
    health: HealthPolicy
    limits: LimitsPolicy
    log: LogPolicy


def load(path: Path | None, *, environ: Mapping[str, str], discovered: Sequence[RouteSpec]) -> Config:
    """The configuration in the file at `path`, or for None the default of every key.

    `discovered` are the routes that the machine offers (net/discover.py): they and a plain `direct` serve where the
    file has no `routes`. `environ` is where `password_env` looks. Raises ConfigError with every problem.
    """
    if path is None:
        config = parse("{}", place="default", base=Path(), environ=environ, discovered=discovered)
        return dataclasses.replace(config, path=None)
    return parse(_read(path), place=str(path), base=path.absolute().parent, environ=environ, discovered=discovered)


def parse(text: str, *, place: str, base: Path, environ: Mapping[str, str], discovered: Sequence[RouteSpec]) -> Config:
    """The configuration in `text`; `place` names it in problems, `base` is the folder that its file names start from.

    As `load` otherwise. Raises ConfigError with every problem, in the order of the file.
    """
    document = read(text, place=place)
    keys, problems = validate(document)
    problems += document.problems
    if keys.routes is None:
        routes = _offered(discovered, keys.listen)
    else:
        routes, faults = _configured(keys.routes, document, base, environ)
        problems += faults
    names = {spec.name for spec in routes} | document.names("routes")
    access, fault = access_policy(keys.access, base=base, clients_given=("access", "clients") in document.lines)
    if fault is not None:
        problems.append(document.problem(("access", "users_file"), fault.message, fault.hint))
    problems += check(keys, document, routes=names, builtin=load_catalogue().registries)
    if problems:
        raise ConfigError(sorted(problems, key=_line))
    return Config(
        path=place,
        listen=keys.listen,
        admin=keys.admin,
        admin_hosts=frozenset(keys.admin_hosts),
        admin_token_file=None if keys.admin_token_file is None else base / keys.admin_token_file,
        state="auto" if keys.state == "auto" else None if keys.state is None else base / keys.state,
        routes=_with_direct(routes, keys.policy.unlisted),
        offered=keys.routes is None,
        registries=tuple(RegistrySpec(name, **dict(entry)) for name, entry in (keys.registries or {}).items()),
        policy=TargetPolicy(**dict(keys.policy)),
        access=access,
        failover=FailoverPolicy(**dict(keys.failover)),
        stall=StallPolicy(**dict(keys.stall)),
        health=HealthPolicy(**dict(keys.health)),
        limits=LimitsPolicy(**dict(keys.limits)),
        log=LogPolicy(**dict(keys.log)),
    )


def with_offers(config: Config, discovered: Sequence[RouteSpec]) -> Config:
    """The configuration over what the machine offers now, where it names no routes of its own."""
    if not config.offered:
        return config
    return dataclasses.replace(config, routes=_with_direct(_offered(discovered, config.listen), config.policy.unlisted))


def _offered(discovered: Sequence[RouteSpec], listen: Sequence[Address]) -> tuple[RouteSpec, ...]:
    """Direct and what the machine offers, less the proxy that is Towline: a laptop's HTTPS_PROXY may point here."""
    others = (spec for spec in discovered if spec.proxy is None or not leads_home(spec.proxy, listen))
    return RouteSpec(DIRECT, origin="default"), *others


def _configured(
    entries: Mapping[str, RouteKeys], document: Document, base: Path, environ: Mapping[str, str]
) -> tuple[tuple[RouteSpec, ...], list[Problem]]:
    specs: list[RouteSpec] = []
    problems: list[Problem] = []
    for name, entry in entries.items():
        spec, faults = route_spec(name, entry, base=base, environ=environ)
        specs.append(spec)
        problems += (document.problem(("routes", name, key), error.message, error.hint) for key, error in faults)
    return tuple(specs), problems


def _with_direct(routes: tuple[RouteSpec, ...], unlisted: str) -> tuple[RouteSpec, ...]:
    """The routes, and one for unlisted targets where they go direct and no route of that name says how."""
    if unlisted != DIRECT or any(spec.name == DIRECT for spec in routes):
        return routes
    return *routes, RouteSpec(DIRECT, registries=(), origin="implicit: for unlisted targets only")


def _line(problem: Problem) -> int:
    return int(problem.place.rpartition(":")[2])


def _read(path: Path) -> str:
    """The text of the file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            if is_open_to_all(file.fileno()):
                raise ConfigError([Problem(str(path), "", OPEN_TO_ALL, CLOSE_IT)])
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError([Problem(str(path), "", f"cannot be read: {error.strerror}")]) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError([too_long(str(path))])
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(f"{path}:{line}", "", "not UTF-8 text", "save the file as UTF-8")]) from None
