"""What can go wrong, as a small tree. Foreign exceptions are mapped to it once, at the edge where they arise.

TowlineError
├─ ConfigError         a configuration that cannot be used: every problem with its place     exit 78
├─ Refused             a request that policy or grammar forbids, before any dial              4xx
├─ DialError           one dial failed; carries its Outcome
├─ ClientLeft          the client closed before it was answered
├─ NoRoute             every route failed, or none may serve the target                       403, 502, 503, 504
├─ ListenError         a listener could not be opened                                         exit 1
└─ AdminError          the running Towline cannot be asked                                    exit 1

Expected results are values (types.Outcome); exceptions cross module borders only.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from towline.types import Attempt, Blame, Outcome, OutcomeKind, Phase, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_REASON = 199  # characters: one line under 200, so that Docker's own error shows it whole (clients.md A.7)


class TowlineError(Exception):
    """Base of everything that Towline raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration: where (`file:line`), at which key, what, and what to do about it."""

    place: str
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.place}: {self.key}: {self.message}" if self.key else f"{self.place}: {self.message}"
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class ConfigError(TowlineError):
    """A configuration that cannot be used, with all of its problems at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class Refused(TowlineError):  # noqa: N818 - the field's word: a refusal is an answer, not a fault
    """A request that Towline answers with `status` without dialling; `code` is the counter it is counted under."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def reason(self) -> str:
        """The reason phrase: the only text a Docker user sees."""
        return reason_phrase(str(self))


class DialError(TowlineError):
    """One dial failed. The route is known to the caller, the outcome says everything else."""

    def __init__(self, kind: OutcomeKind, phase: Phase, blame: Blame, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.phase = phase
        self.blame = blame
        self.detail = detail

    def outcome(self, seconds: float) -> Outcome:
        """The failure as a value, with the time it took."""
        return Outcome(self.kind, self.phase, self.blame, seconds, self.detail)


class NoRoute(TowlineError):  # noqa: N818 - the name that the answer carries
    """No route reached the target: `attempts` in the order they began, `excluded` what was not tried and why."""

    def __init__(self, target: Target, attempts: Sequence[Attempt], excluded: Sequence[tuple[str, str]] = ()) -> None:
        self.target = target
        self.attempts = tuple(attempts)
        self.excluded = tuple(excluded)
        super().__init__(self.reason)

    @property
    def status(self) -> HTTPStatus:
        """What the attempts say together: 503 nothing could be tried, 504 all timed out, 403 all denied, else 502.

        RFC 9110 15.6.3 to 15.6.5; 403 because the guard forbids the addresses that the name leads to.
        """
        if not self.attempts:
            return HTTPStatus.SERVICE_UNAVAILABLE
        match {attempt.outcome.kind for attempt in self.attempts}:
            case kinds if kinds == {OutcomeKind.TIMEOUT}:
                return HTTPStatus.GATEWAY_TIMEOUT
            case kinds if kinds == {OutcomeKind.DENIED}:
                return HTTPStatus.FORBIDDEN
            case _:
                return HTTPStatus.BAD_GATEWAY

    @property
    def reason(self) -> str:
        """One line for Docker's own error: what was tried, how each ended, what to run next."""
        tried = [str(attempt) for attempt in self.attempts]
        tried += [f"{route}: {why}" for route, why in self.excluded] if not tried else []
        hint = f" - towline explain {self.target.host}"
        head = f"towline: no route to {self.target.host}"
        room = MAX_REASON - len(head) - len(hint) - len(" ()")
        return reason_phrase(f"{head} ({_fit(tried, room)}){hint}")


def _fit(parts: list[str], room: int) -> str:
    """Join what fits into `room` characters, first things first, and count the rest."""
    if not parts:
        return "none is configured for it"
    for keep in range(len(parts), 0, -1):
        rest = len(parts) - keep
        text = "; ".join(parts[:keep]) + (f"; {rest} more" if rest else "")
        if len(text) <= room:
            return text
    return parts[0][: max(0, room - 3)] + "..."


def reason_phrase(text: str) -> str:
    """`text` as a reason phrase: one line of printable ASCII under 200 characters (RFC 9112 section 4)."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return plain if len(plain) <= MAX_REASON else plain[: MAX_REASON - 3] + "..."


class ClientLeft(TowlineError):  # noqa: N818 - an event, not a fault
    """The client closed before it had its answer."""


class ListenError(TowlineError):
    """A listener could not be opened; the text names the address and the reason."""


class AdminError(TowlineError):
    """The running Towline could not be asked; the text says where it was looked for and what to do."""
