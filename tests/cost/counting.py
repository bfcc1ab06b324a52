"""What code costs, counted: the calls that it makes, and the limits that the counts are held to.

Counts and not times: a machine that runs other things takes twice as long, but makes no call more. A time that never
fails by mistake has to be allowed twice what it is, and by then a fault that costs half as much again has long passed.
A count is the same within one in a hundred on an idle machine and on a busy one. It tells nothing of how long a
call takes: for that there are the benches (CONTRIBUTING.md), side by side with other proxies.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any, Literal, Self

import towline

PACKAGE = str(Path(towline.__file__).parent)
HERE = str(Path(__file__).parent)

HEADROOM = 1.05 if sys.version_info[:2] == (3, 13) else 1.3
"""How far above its figure a count may be. Figures are those of Python 3.13, in which they scatter by less than 0.01;
3.12 makes 0.07 more calls for a tunnel, 0.26 more into the kernel, and takes 0.12 more blocks of memory."""

WORST = 20  # callees that a failure shows

KERNEL = ("socket.", "epoll.", "posix.", "fcntl.", "_socket.dup", "_socket.close")
"""How the names of those begin that ask the kernel, once in each call; `socket()` itself is a type, and not seen."""
NO_KERNEL = {"socket.fileno", "socket.gettimeout", "socket.detach", "epoll.fileno", "posix.fspath"}
"""Those that only look like it."""

type Call = tuple[CodeType, str]
"""A Python function and "", or a C function's name after the function that calls it."""

type Which = Literal["all", "own", "kernel"]
"""All calls but the test's own, those of Towline's functions (and to C by them), those that ask the kernel."""


class Calls:
    """The calls of this thread in its block, Python's and C's; a coroutine counts each time that it goes on.

    By sys.setprofile, which is told of them one by one and of this thread alone: the far ends of a test run in others.
    """

    def __init__(self) -> None:
        self._found: Counter[Call] = Counter()

    def __enter__(self) -> Self:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, callee: Any) -> None:
        if event == "call":
            self._found[frame.f_code, ""] += 1
        elif event == "c_call":
            self._found[frame.f_code, _c_name(callee)] += 1

    def count(self, which: Which = "all") -> int:
        """How many there were."""
        return sum(count for (code, name), count in self._found.items() if _counts(code, name, which))

    def of(self, function: Callable[..., Any]) -> int:
        """Those of one Python function."""
        return self._found[function.__code__, ""]

    def most(self, per: float, which: Which = "all") -> str:
        """What is called most, a line each, with its calls for each of `per`."""
        named: Counter[str] = Counter()
        for (code, name), count in self._found.items():
            if _counts(code, name, which):
                place = f"{_short(code.co_filename)}:{code.co_firstlineno}"
                named[f"{name}  from {code.co_qualname}, {place}" if name else f"{code.co_qualname}  {place}"] += count
        return "\n".join(f"{count / per:>10.1f}  {name}" for name, count in named.most_common(WORST))


def _c_name(callee: Any) -> str:
    module = callee.__module__
    return f"{module}.{callee.__qualname__}" if module else str(callee.__qualname__)


def _counts(code: CodeType, name: str, which: Which) -> bool:
    match which:
        case "all":
            return not code.co_filename.startswith(HERE)
        case "own":
            return code.co_filename.startswith(PACKAGE)
        case "kernel":
            return name.startswith(KERNEL) and name not in NO_KERNEL


def _short(file: str) -> str:
    """The last parts of a path, which tell enough."""
    return "/".join(Path(file).parts[-3:])


@dataclass(frozen=True, slots=True)
class Limit:
    """What something costs and may cost."""

    what: str
    measured: float
    """What it was when this was written. Whoever makes it cheaper writes the new figure here."""
    headroom: float = HEADROOM

    @property
    def most(self) -> float:
        """Above this the test fails."""
        return self.measured * self.headroom


COUNTED: list[tuple[Limit, float]] = []
"""What was held to its limit in this run, for the table at its end (conftest.py)."""


def within(limit: Limit, found: float, where: str = "") -> None:
    """Fail where a count is above its limit; `where` shows where it comes from."""
    __tracebackhide__ = True
    COUNTED.append((limit, found))
    figures = f"{found:.1f}, may be {limit.most:.1f} ({limit.measured:g} and headroom)"
    assert found <= limit.most, f"{limit.what}: {figures}\n{where}"
