"""Running other people's programs: one owner each, ended by pid, every wait with a deadline and the log on failure.

run(argv, env=...)        a command that ends by itself: its output, or a failure that shows all of it
Daemon(name, argv, ...)   a program that stays: output to a log file, `stop()` is its one closing path
wait_until(check, ...)    poll until true, or fail saying what was waited for
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

# The distribution's own programs come first: a machine may carry newer ones in /usr/local that the tests do not mean.
SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin:/usr/local/go/bin"

POLL = 0.02  # seconds between two looks at a condition that nothing announces
TAIL = 6000  # characters of a log that a failure shows


class ProgramError(AssertionError):
    """A program failed, or something waited for did not come; the text carries the program's own words."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """The whole environment of a program under test: nothing of the caller's gets in, proxies and CAs least of all."""
    return {"PATH": SEARCH_PATH, "HOME": str(home), "LANG": "C.UTF-8", "TMPDIR": str(home), **more}


def run(argv: Sequence[str], *, env: Mapping[str, str], timeout: float = 60.0, stdin: str | None = None) -> str:
    """Standard output of a command that must succeed within `timeout` seconds."""
    done = run_any(argv, env=env, timeout=timeout, stdin=stdin)
    if done.returncode != 0:
        raise ProgramError(f"{_line(argv)} ended with {done.returncode}:\n{_tail(done.stdout + done.stderr)}")
    return done.stdout


def run_any(
    argv: Sequence[str], *, env: Mapping[str, str], timeout: float = 60.0, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """A command's result, whatever its exit code; it is killed and fails the test after `timeout` seconds."""
    try:
        return subprocess.run(
            argv, env=env, timeout=timeout, input=stdin, capture_output=True, text=True, errors="replace", check=False
        )
    except subprocess.TimeoutExpired as error:
        said = b"".join(part for part in (error.stdout, error.stderr) if part).decode(errors="replace")
        raise ProgramError(f"{_line(argv)} was still running after {timeout} s:\n{_tail(said)}") from None


def wait_until(check: Callable[[], bool], what: str, *, timeout: float, told: Callable[[], str] = str) -> None:
    """Return once `check()` is true; fail after `timeout` seconds with `what` and what `told()` has to say."""
    deadline = time.monotonic() + timeout
    while not check():
        if time.monotonic() > deadline:
            raise ProgramError(f"after {timeout} s still not: {what}\n{_tail(told())}")
        time.sleep(POLL)


class Daemon:
    """A program that runs until it is stopped. Its owner calls `stop()`, or uses it as a context manager."""

    def __init__(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str], log: Path, pass_fds: Sequence[int] = ()
    ) -> None:
        """Start it; it inherits the descriptors `pass_fds` under the same numbers."""
        self.name = name
        self.log = log
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                argv, env=env, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, pass_fds=pass_fds
            )

    @property
    def pid(self) -> int:
        """The program's own process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """True until the program has ended."""
        return self._process.poll() is None

    def output(self) -> str:
        """All it has written so far."""
        return self.log.read_text(errors="replace")

    def wait_until(self, check: Callable[[], bool], what: str, *, timeout: float = 20.0) -> None:
        """`wait_until`, which also ends when the program does."""
        wait_until(lambda: not self.running or check(), what, timeout=timeout, told=self.output)
        if not self.running:
            raise ProgramError(
                f"{self.name} ended with {self._process.returncode} before: {what}\n{_tail(self.output())}"
            )

    def signal(self, number: signal.Signals) -> None:
        """Send one signal."""
        self._process.send_signal(number)

    def join(self, timeout: float) -> int:
        """Its exit code, once it has ended by itself within `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProgramError(f"{self.name} was still running after {timeout} s\n{_tail(self.output())}") from None

    def stop(self, timeout: float = 10.0) -> int:
        """SIGTERM, then SIGKILL after `timeout` seconds; the exit code. Once stopped, the same answer again."""
        if self.running:
            self.signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@contextmanager
def undone_on_failure(owned: ExitStack) -> Iterator[None]:
    """Close `owned` if the body fails; else it stays open for its owner to close."""
    with ExitStack() as closing:
        closing.callback(owned.close)
        yield
        closing.pop_all()


def _line(argv: Sequence[str]) -> str:
    return " ".join(os.fspath(word) for word in argv)


def _tail(text: str) -> str:
    return text if len(text) <= TAIL else "[...] " + text[-TAIL:]
