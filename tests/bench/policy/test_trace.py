"""Traces are read as the format says, and what is wrong is named with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.bench.policy.trace import Network, Request, State, Trace, TraceError, dump, parse, read

from towline.types import Role

ROUTE = '{"t": 0, "route": "vpn", "connect": 0.1, "first_byte": null, "rate": 1000, "stall": true}'
CLIENT = '{"t": 1.5, "registry": "ghcr", "role": "blob", "bytes": 7}'


def test_plain_lines_are_read() -> None:
    """The two kinds of line need nothing but their own keys, in any order; empty lines mean nothing."""
    trace = parse([CLIENT, "", ROUTE], "x")
    assert trace.states == (State(0.0, "vpn", 0.1, None, 1000.0, stall=True),)
    assert trace.requests == (Request(1.5, "ghcr", Role.BLOB, 7),)
    assert (trace.routes, trace.begins, trace.ends) == (("vpn",), 0.0, 1.5)


def test_lines_are_sorted_by_time() -> None:
    """A file may have its lines in any order; the configuration's order of routes is that of their first lines."""
    later = ROUTE.replace('"t": 0', '"t": 5').replace("vpn", "direct")
    assert parse([later, ROUTE, CLIENT], "x").routes == ("vpn", "direct")


def test_a_trace_is_written_as_it_is_read() -> None:
    """What `dump` writes `parse` reads back, the added keys and the network's lines included."""
    narrow = State(2.0, "vpn", None, 0.2, 5.0, registry="ghcr", role=Role.API, probe=False, loss=0.1)
    trace = Trace.of(
        [*parse([ROUTE, CLIENT], "x").states, narrow, Request(3.0, "ghcr", Role.API, 1), Network(2.5, "home")]
    )
    assert parse(dump(trace), "x") == trace
    first = json.loads(next(dump(trace)))
    assert list(first) == ["t", "route", "connect", "first_byte", "rate", "stall"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "Expecting property name"),
        ("[]", "is no JSON object"),
        ('{"t": 1}', "has neither `route` nor `bytes` nor `network`"),
        (ROUTE.replace('"connect": 0.1, ', ""), "lacks connect"),
        (ROUTE.replace("stall", "stalled"), "has unknown stalled"),
        (ROUTE.replace("true", "1"), "stall is 1, which is neither true nor false"),
        (ROUTE.replace("0.1", "-1"), "connect is -1, which is no number from 0 up"),
        (ROUTE.replace("0.1", '"fast"'), 'connect is "fast", which is no number'),
        (CLIENT.replace("blob", "tags"), 'role is "tags", which is none of api, auth, blob'),
        (CLIENT.replace('"ghcr"', '""'), 'registry is "", which is no name'),
        (CLIENT.replace("1.5", "NaN"), "t is NaN, which is no number"),
    ],
)
def test_a_bad_line_is_named(line: str, what: str) -> None:
    """The error has the file, the number of the line, and what is wrong with it."""
    with pytest.raises(TraceError) as caught:
        parse([ROUTE, line, CLIENT], "some.jsonl")
    assert str(caught.value).startswith(f"some.jsonl:2: {what}")


@pytest.mark.parametrize(("lines", "what"), [([CLIENT], "has no route lines"), ([ROUTE], "has no client lines")])
def test_a_trace_needs_both_kinds(lines: list[str], what: str) -> None:
    """Half a trace is an error, and no division by zero later."""
    with pytest.raises(TraceError, match=what):
        parse(lines, "x")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """So is one that is no text."""
    with pytest.raises(TraceError, match=r"none\.jsonl"):
        read(tmp_path / "none.jsonl")
