"""The command line: scenarios, files, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.bench.policy.__main__ import main

TRACE = """\
{"t": 0, "route": "a", "connect": 0.1, "first_byte": 0.1, "rate": 1000, "stall": false}
{"t": 0, "route": "b", "connect": 0.2, "first_byte": 0.2, "rate": 9000, "stall": false}
{"t": 5, "registry": "somewhere", "role": "blob", "bytes": 50000}
"""


def test_a_file_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Any trace file, with the issue's keys alone and a registry that nobody knows."""
    path = tmp_path / "unseen.jsonl"
    path.write_text(TRACE)
    assert main([str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["scenarios"][str(path)]["first that works"]["mean"] == pytest.approx(50.2 / (0.4 + 50 / 9))


def test_a_bad_file_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named with its line, and the exit code is 2."""
    path = tmp_path / "bad.jsonl"
    path.write_text(TRACE.replace("9000", "true"))
    assert main([str(path)]) == 2
    assert f"{path}:2: rate is true" in capsys.readouterr().err


def test_scenarios_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file for each seed, which can be replayed."""
    assert main(["apart", "--seeds", "2", "--write", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"apart-0.jsonl", "apart-1.jsonl"}


def test_the_table_has_every_policy(capsys: pytest.CaptureFixture[str]) -> None:
    """As text: the scenario, and all together."""
    assert main(["flapping", "--seeds", "1"]) == 0
    told = capsys.readouterr().out
    assert told.count("lantern bandit") == 3  # the scenario, the changing ones, all
