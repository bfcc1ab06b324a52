"""The fault suite: every row, by every client, so many times, each beside a clean pull: python -m tests.faults.suite

    --runs N           pulls of each row and client (10)
    --jobs N           stages at once (1); each keeps a fifth of one core busy, and has clean pulls of its own
    --row WORDS        only rows whose name contains this; may be repeated
    --client NAME      only this client; may be repeated
    --json FILE        write all figures, and the logs of pulls that failed

Needs root and the packages of tests/debian-packages.txt. Ends with 1 where a line is not as it was asked.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from queue import SimpleQueue

from tests.e2e.rig.clients import ContainerClient
from tests.e2e.rig.process import ProgramError
from tests.faults.report import HEAD, Clean, Line, table
from tests.faults.row import Row
from tests.faults.rows import CLEAN, CLEAN_ALONE, ROWS
from tests.faults.scene import Pull, play
from tests.faults.stage import Stage

STRIKES = 4
"""Pulls until one is struck by its fault: measuring moves some to the second route before, and those tell nothing."""
CLEAN_EVERY = 4  # faulty pulls of a client between two clean ones
CLEANS = 3  # clean pulls, the newest, whose median stands for all


class Suite:
    """Plays rows on a stage, with clean pulls of the same client never far away.

    A fault leaves a pull one route, where a pull without one spreads its layers over two: over links of 200 Mbit/s that
    is 2.3 against 3.0 s for the Go client. So one clean pull goes over both, one over a single route, and the slower of
    the two is what a client needs without the fault.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._clean: defaultdict[tuple[str, str], deque[Pull]] = defaultdict(lambda: deque(maxlen=CLEANS))
        self._since: defaultdict[str, int] = defaultdict(int)

    def play(self, row: Row, name: str) -> tuple[Pull, Clean]:
        """One pull of a row, and what the client needs without its fault."""
        client = self._stage.client(name)
        if (name, CLEAN.name) not in self._clean:
            play(self._stage, client, CLEAN)  # a first pull is slower than all others, and counts nowhere
        if self._since[name] % CLEAN_EVERY == 0:
            for clean in CLEAN, CLEAN_ALONE:
                self._play_clean(client, clean)
        self._since[name] += 1
        for _ in range(STRIKES):
            pull = play(self._stage, client, row)
            if pull.landed or not pull.completed:
                break
        usual = (_usual(self._clean[name, clean.name]) for clean in (CLEAN, CLEAN_ALONE))
        return pull, max(usual, key=lambda clean: clean.seconds)

    def _play_clean(self, client: ContainerClient, clean: Row) -> None:
        pull = play(self._stage, client, clean)
        if pull.completed:
            self._clean[client.name, clean.name].append(pull)
        elif not self._clean[client.name, clean.name]:
            raise ProgramError(f"{client.name} cannot pull without a fault: {pull.words}")


def _usual(pulls: Sequence[Pull]) -> Clean:
    seconds = statistics.median(pull.seconds for pull in pulls)
    return Clean(seconds, round(statistics.median(pull.moved.fetched for pull in pulls)))


def chosen(words: Sequence[str], names: Sequence[str]) -> Iterator[tuple[Row, str]]:
    """The rows whose names contain some of the words, each with those of its clients that are named; empty is all."""
    for row in ROWS:
        if not words or any(word in row.name for word in words):
            for client in (*row.clients, *row.told):
                if not names or client in names:
                    yield row, client


def play_all(lines: Sequence[Line], *, runs: int, jobs: int) -> None:
    """Play all lines so many times, on so many stages at once."""
    idle: SimpleQueue[Suite] = SimpleQueue()

    def play_one(line: Line) -> None:
        suite = idle.get()
        try:
            line.pulls.append(suite.play(line.row, line.client))
            print(line, file=sys.stderr, flush=True)
        finally:
            idle.put(suite)

    with ExitStack() as owned, ThreadPoolExecutor(jobs) as pool:
        for _ in range(jobs):
            idle.put(Suite(owned.enter_context(closing(Stage()))))
        try:
            for played in [pool.submit(play_one, line) for _ in range(runs) for line in lines]:
                played.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what is under way ends first
            raise


def main() -> int:
    """Play, and print the table; 1 where a line is not as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--row", action="append", default=[])
    parser.add_argument("--client", action="append", default=[])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that stages are taken down
    lines = [Line(row, client) for row, client in chosen(options.row, options.client)]
    print(HEAD, file=sys.stderr)
    try:
        play_all(lines, runs=options.runs, jobs=options.jobs)
    finally:  # hours of figures are worth having where the rest was cut short
        played = [line for line in lines if line.pulls]
        print(table(played))
        if options.json:
            options.json.write_text(json.dumps([line.as_json() for line in played], indent=1))
    return 0 if all(line.verdict() == "ok" for line in lines if line.is_judged) else 1


if __name__ == "__main__":
    sys.exit(main())
