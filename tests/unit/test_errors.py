"""The one line that a Docker user sees, and how problems and outcomes are carried."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from towline.errors import (
    MAX_REASON,
    ConfigError,
    DialError,
    NoRoute,
    Problem,
    Refused,
    reason_phrase,
)
from towline.types import Attempt, Blame, Outcome, OutcomeKind, Phase, Target

TARGET = Target("registry-1.docker.io", 443)
HEAD = "towline: no route to registry-1.docker.io"
HINT = " - towline explain registry-1.docker.io"


def attempt(route: str, detail: str, kind: OutcomeKind = OutcomeKind.REFUSED) -> Attempt:
    """An attempt that failed."""
    return Attempt(route, 0.0, Outcome(kind, Phase.CONNECT, Blame.ROUTE, 1.0, detail))


TIMEOUT = attempt("vpn", "timeout 3.0 s", OutcomeKind.TIMEOUT)
DENIED = attempt("direct", "a private address", OutcomeKind.DENIED)
PROXY = attempt("office", "407 from proxy", OutcomeKind.PROXY_AUTH)


@pytest.mark.parametrize(
    ("attempts", "excluded", "inside"),
    [
        ([TIMEOUT, PROXY], [], "vpn: timeout 3.0 s; office: 407 from proxy"),
        ([TIMEOUT], [("direct", "not for dockerhub")], "vpn: timeout 3.0 s"),
        ([], [("vpn", "disabled"), ("direct", "not for dockerhub")], "vpn: disabled; direct: not for dockerhub"),
        ([], [], "none is configured for it"),
    ],
    ids=["tried", "tried before excluded", "excluded", "none"],
)
def test_no_route_reason(attempts: list[Attempt], excluded: list[tuple[str, str]], inside: str) -> None:
    """The reason says what was tried and how each ended, or why nothing was, and what to run next."""
    error = NoRoute(TARGET, attempts, excluded)
    assert error.reason == f"{HEAD} ({inside}){HINT}"
    assert str(error) == error.reason


@pytest.mark.parametrize("count", range(1, 41))
def test_no_route_reason_fits(count: int) -> None:
    """However many routes there are, the line stays under 200 characters, with the hint and the number left out."""
    reason = NoRoute(TARGET, [attempt(f"route-{i}", "timeout 10.0 s") for i in range(count)]).reason
    assert len(reason) <= MAX_REASON
    assert reason.startswith(f"{HEAD} (route-0: timeout 10.0 s")
    assert reason.endswith(f"){HINT}")
    shown = reason.count("timeout")
    assert shown == count or f"; {count - shown} more)" in reason


@pytest.mark.parametrize(
    ("attempts", "fragment"),
    [
        ([attempt("vpn", "x" * 400)], "(vpn: xxx"),
        ([attempt("v" * 400, "refused"), TIMEOUT], "(vvv"),
    ],
)
def test_no_route_reason_cuts_a_long_detail(attempts: list[Attempt], fragment: str) -> None:
    """One overlong attempt is cut, and the hint stays."""
    reason = NoRoute(TARGET, attempts).reason
    assert len(reason) == MAX_REASON
    assert fragment in reason
    assert reason.endswith(f"...){HINT}")


def test_no_route_reason_with_the_longest_host() -> None:
    """A host of 253 characters still gives one line under 200."""
    reason = NoRoute(Target(".".join(["a" * 63] * 3 + ["b" * 61]), 443), [TIMEOUT]).reason
    assert len(reason) == MAX_REASON
    assert reason.startswith("towline: no route to aaa")


@pytest.mark.parametrize(
    ("attempts", "status"),
    [
        ([], HTTPStatus.SERVICE_UNAVAILABLE),
        ([TIMEOUT], HTTPStatus.GATEWAY_TIMEOUT),
        ([TIMEOUT, TIMEOUT], HTTPStatus.GATEWAY_TIMEOUT),
        ([TIMEOUT, PROXY], HTTPStatus.BAD_GATEWAY),
        ([PROXY], HTTPStatus.BAD_GATEWAY),
        ([DENIED], HTTPStatus.FORBIDDEN),
        ([DENIED, TIMEOUT], HTTPStatus.BAD_GATEWAY),
    ],
)
def test_no_route_status(attempts: list[Attempt], status: HTTPStatus) -> None:
    """503 where nothing could be tried, 504 where all timed out, 403 where all were denied, else 502."""
    assert NoRoute(TARGET, attempts).status is status


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("port 22 is not allowed", "port 22 is not allowed"),
        ("a\r\nSet-Cookie: b", "a??Set-Cookie: b"),
        ("\x1b[31mred\x00", "?[31mred?"),
        ("вне диапазона", "??? ?????????"),
        ("a\tb\u202eb", "a?b?b"),
        ("x" * 199, "x" * 199),
        ("x" * 200, "x" * 196 + "..."),
    ],
)
def test_reason_phrase(text: str, phrase: str) -> None:
    """A reason phrase is one line of printable ASCII under 200 characters, whatever goes in (faults A.2 row 41)."""
    assert reason_phrase(text) == phrase


def test_refused() -> None:
    """A refusal carries its status, its counter and the sentence, made safe for the status line."""
    error = Refused(HTTPStatus.FORBIDDEN, "port", "towline: port 22\nis closed")
    assert (error.status, error.code) == (HTTPStatus.FORBIDDEN, "port")
    assert error.reason == "towline: port 22?is closed"


def test_dial_error_becomes_an_outcome() -> None:
    """A failed dial keeps kind, phase, blame and detail, and gains the time it took."""
    error = DialError(OutcomeKind.RESET, Phase.PROXY, Blame.ROUTE, "reset by proxy")
    assert str(error) == "reset by proxy"
    assert error.outcome(0.5) == Outcome(OutcomeKind.RESET, Phase.PROXY, Blame.ROUTE, 0.5, "reset by proxy")


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("towline.yaml:3", "routes.vpn.mark", "not a number"), "towline.yaml:3: routes.vpn.mark: not a number"),
        (Problem("towline.yaml", "", "not readable"), "towline.yaml: not readable"),
        (
            Problem("towline.yaml:3", "rotues", "unknown key", "did you mean routes?"),
            "towline.yaml:3: rotues: unknown key\n  hint: did you mean routes?",
        ),
    ],
)
def test_problem(problem: Problem, text: str) -> None:
    """A problem reads as its place, key and fault, with the hint on a line of its own."""
    assert str(problem) == text


def test_config_error_has_every_problem() -> None:
    """A configuration error shows all of its problems at once, in order."""
    problems = [Problem("a.yaml:1", "x", "bad"), Problem("a.yaml:9", "y", "worse", "drop it")]
    error = ConfigError(problems)
    assert error.problems == tuple(problems)
    assert str(error) == "a.yaml:1: x: bad\na.yaml:9: y: worse\n  hint: drop it"
