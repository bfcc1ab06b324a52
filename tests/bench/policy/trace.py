"""Traces: what routes would do, and what clients ask for, as JSON lines.

    {"t": s, "route": r, "connect": s|null, "first_byte": s|null, "rate": bytes/s, "stall": bool}
    {"t": s, "registry": r, "role": "api|auth|blob", "bytes": n}

A route line says how a route is from `t` on, until its next line; before its first one it is not there.

    connect      until a dial is established end to end; null: never, the route is down and carries nothing
    first_byte   from then to the server's first byte; null: never, while what has begun to flow goes on
    rate         bytes a second that one transfer gets, whatever else is under way
    stall        no byte of a body comes, while dials and first bytes do

Four keys may be added to a route line, which files without them do not miss:

    registry, role   the line is about these alone, and holds for them until the next that is as narrow; of lines that
                     are wider nothing more counts
    probe            false: a probe fails, while traffic works
    loss             share of segments that are sent again, 0 to 1, as a kernel tells it; `rate` has it in already

And one more kind of line, `{"t": s, "network": name}`: from then on the machine is in another network, and knows it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from towline.types import Role

ROLES = (Role.API, Role.AUTH, Role.BLOB)


class TraceError(ValueError):
    """A trace that cannot be read; the text names file and line."""


@dataclass(frozen=True, slots=True)
class State:
    """How a route is from `t` on."""

    t: float
    route: str
    connect: float | None
    first_byte: float | None
    rate: float
    stall: bool = False
    registry: str | None = None
    role: Role | None = None
    probe: bool = True
    loss: float = 0.0

    @property
    def narrowness(self) -> int:
        """How many of registry and role it is about alone."""
        return (self.registry is not None) + (self.role is not None)

    def applies(self, registry: str | None, role: Role | None) -> bool:
        """Whether it says something about these; a peer's test address is of no registry and has no role."""
        return self.registry in (None, registry) and self.role in (None, role)


@dataclass(frozen=True, slots=True)
class Request:
    """One transfer that a client asks for at `t`."""

    t: float
    registry: str
    role: Role
    bytes: int


@dataclass(frozen=True, slots=True)
class Network:
    """The machine is in this network from `t` on."""

    t: float
    network: str


type Line = State | Request | Network


@dataclass(frozen=True, slots=True)
class Trace:
    """All lines, each kind in the order of time."""

    states: tuple[State, ...]
    requests: tuple[Request, ...]
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, lines: Iterable[Line]) -> Trace:
        """Sort lines out; of those with the same time the order is kept."""
        ordered = sorted(lines, key=lambda line: line.t)
        return cls(
            tuple(line for line in ordered if isinstance(line, State)),
            tuple(line for line in ordered if isinstance(line, Request)),
            tuple(line for line in ordered if isinstance(line, Network)),
        )

    @property
    def routes(self) -> tuple[str, ...]:
        """The names of the routes in the order in which they appear: the order of a configuration."""
        return tuple(dict.fromkeys(state.route for state in self.states))

    @property
    def begins(self) -> float:
        """When the first line of a route or a client is."""
        return min(self.states[0].t, self.requests[0].t)

    @property
    def ends(self) -> float:
        """When the last of them is."""
        return max(self.states[-1].t, self.requests[-1].t)


def read(path: Path) -> Trace:
    """Read a trace file. Raises TraceError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: {error}") from None
    return parse(text.splitlines(), str(path))


def parse(texts: Iterable[str], name: str) -> Trace:
    """Read the lines of a trace called `name`; empty ones mean nothing. Raises TraceError."""
    trace = Trace.of(_lines(texts, name))
    if not trace.routes:
        raise TraceError(f"{name}: has no route lines")
    if not trace.requests:
        raise TraceError(f"{name}: has no client lines")
    return trace


def dump(trace: Trace) -> Iterator[str]:
    """The lines of a trace file in the order of time, from which `parse` makes it again."""
    lines: list[Line] = [*trace.states, *trace.networks, *trace.requests]
    lines.sort(key=lambda line: line.t)
    for line in lines:
        silent = {f.name: f.default for f in fields(line) if f.name != "stall"}
        yield json.dumps({key: value for key, value in asdict(line).items() if value != silent.get(key)})


def _lines(texts: Iterable[str], name: str) -> Iterator[Line]:
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            continue
        try:
            yield _line(json.loads(text))
        except ValueError as error:
            raise TraceError(f"{name}:{number}: {error}") from None


def _line(value: object) -> Line:
    """One line. Raises ValueError with what is wrong."""
    if not isinstance(value, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - of the text, whatever is wrong with it
    kind: type[Line]
    if "route" in value:
        kind = State
    elif "network" in value:
        kind = Network
    elif "bytes" in value:
        kind = Request
    else:
        raise ValueError("has neither `route` nor `bytes` nor `network`")
    _check_keys(value, kind)
    if kind is Network:
        return Network(_number(value, "t"), _text(value, "network"))
    if kind is Request:
        role = _role(value["role"])
        return Request(_number(value, "t"), _text(value, "registry"), role, int(_number(value, "bytes")))
    return State(
        t=_number(value, "t"),
        route=_text(value, "route"),
        connect=None if value["connect"] is None else _number(value, "connect"),
        first_byte=None if value["first_byte"] is None else _number(value, "first_byte"),
        rate=0.0 if value["rate"] is None else _number(value, "rate"),
        stall=_flag(value, "stall", default=False),
        registry=None if value.get("registry") is None else _text(value, "registry"),
        role=None if value.get("role") is None else _role(value["role"]),
        probe=_flag(value, "probe", default=True),
        loss=_number(value, "loss") if "loss" in value else 0.0,
    )


def _check_keys(value: Mapping[str, object], kind: type[Line]) -> None:
    known = {field.name for field in fields(kind)}
    needed = {"t", "route", "connect", "first_byte", "rate"} if kind is State else known
    if missing := sorted(needed - value.keys()):
        raise ValueError(f"lacks {', '.join(missing)}")
    if unknown := sorted(value.keys() - known):
        raise ValueError(f"has unknown {', '.join(unknown)}")


def _number(value: Mapping[str, Any], key: str) -> float:
    number = value[key]
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < float("inf"):
        raise ValueError(f"{key} is {json.dumps(number)}, which is no number from 0 up")
    return float(number)


def _text(value: Mapping[str, Any], key: str) -> str:
    text = value[key]
    if not isinstance(text, str) or not text:
        raise ValueError(f"{key} is {json.dumps(text)}, which is no name")
    return text


def _flag(value: Mapping[str, Any], key: str, *, default: bool) -> bool:
    flag = value.get(key, default)
    if not isinstance(flag, bool):
        raise ValueError(f"{key} is {json.dumps(flag)}, which is neither true nor false")  # noqa: TRY004 - as above
    return flag


def _role(text: object) -> Role:
    if text not in [role.value for role in ROLES]:
        raise ValueError(f"role is {json.dumps(text)}, which is none of {', '.join(ROLES)}")
    return Role(text)
