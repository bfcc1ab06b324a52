"""The file of what was learned: whole or not at all, for its owner alone, and never fatal whatever is wrong with it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from towline import memory as module
from towline.memory import ASIDE, MAX_BYTES, MAX_NETWORKS, NAME, VERSION, Kept, Memory

KEPT = Kept(1_700_000_000.0, {"version": 1, "health": [], "sizes": []})
HOME = "eth0 192.0.2.1 02:00:00:00:00:01"


def written(folder: Path, **changed: Any) -> Path:
    """A file with one network in it, with these of its keys changed."""
    memory = Memory(folder)
    memory.keep(memory.fingerprint(HOME), KEPT)
    memory.write(json.dumps(json.loads(memory.text()) | changed))
    return memory.file


def test_what_is_kept_is_recalled_by_the_next_process(tmp_path: Path) -> None:
    """By the same network alone, whose name the next process knows again."""
    memory = Memory.read(tmp_path / "new" / "folder")
    name = memory.fingerprint(HOME)
    memory.keep(name, KEPT)
    memory.write(memory.text())
    later = Memory.read(tmp_path / "new" / "folder")
    assert later.fingerprint(HOME) == name
    assert later.recall(name) == KEPT
    assert later.recall(later.fingerprint("eth0 192.0.2.1 02:00:00:00:00:02")) is None


def test_the_file_is_its_owners_alone_and_names_nothing(tmp_path: Path) -> None:
    """Mode 0600 in a folder of mode 0700, no file left beside it, and no address in it, nor a hash of one alone."""
    one, other = written(tmp_path / "one"), written(tmp_path / "other")
    assert stat.S_IMODE(one.stat().st_mode) == 0o600
    assert stat.S_IMODE(one.parent.stat().st_mode) == 0o700
    assert [path.name for path in one.parent.iterdir()] == [NAME]
    text = one.read_text()
    assert not any(part in text for part in HOME.split())
    assert json.loads(text)["networks"].keys() != json.loads(other.read_text())["networks"].keys()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is damaged"),
        ("{", "it is damaged"),
        ("[1]", "it is damaged"),
        ("[" * 100_000, "it is damaged"),
        ("\udcff", "it is damaged"),
        ('{"version": 2, "salt": "", "networks": {}}', "it is of version '2', not 1"),
        ('{"version": 1, "salt": "00", "networks": {}}', "it is damaged"),
        ('{"version": 1, "salt": "zz", "networks": {}}', "it is damaged"),
        (f'{{"version": 1, "salt": "{"0" * 32}", "networks": [1]}}', "it is damaged"),
        (f'{{"version": 1, "salt": "{"0" * 32}", "networks": {{"a": {{"at": "soon"}}}}}}', "it is damaged"),
        (f'{{"version": 1, "salt": "{"0" * 32}", "networks": {{"a": 7}}}}', "it is damaged"),
        (" " * (MAX_BYTES + 1), f"it is larger than {MAX_BYTES} bytes"),
    ],
    ids=str,
)
def test_a_file_that_is_of_no_use_is_set_aside(tmp_path: Path, text: str, why: str) -> None:
    """It is kept under another name and said in one line; then a new one is begun."""
    file = tmp_path / NAME
    file.write_text(text, errors="surrogateescape")
    with capture_logs() as lines:
        memory = Memory.read(tmp_path)
    assert [(line["event"], line["why"]) for line in lines] == [("memory_set_aside", why)]
    assert not file.exists()
    assert (tmp_path / ASIDE).read_text(errors="surrogateescape") == text
    memory.write(memory.text())
    with capture_logs() as lines:
        Memory.read(tmp_path)
    assert lines == []


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder in its place is set aside likewise."""
    (tmp_path / NAME).mkdir()
    with capture_logs() as lines:
        Memory.read(tmp_path)
    assert lines[0]["why"] == "it cannot be read: Is a directory"
    assert (tmp_path / ASIDE).is_dir()


def test_a_folder_that_cannot_be_written_to_is_said_once(tmp_path: Path) -> None:
    """Until it can be again: a warning for every few minutes would drown the log."""
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file")  # mkdir fails on it, for root too
    with capture_logs() as lines:
        memory.write("{}")
        memory.write("{}")
    assert [line["event"] for line in lines] == ["memory_not_kept"]
    (tmp_path / "file").unlink()
    memory.write("{}")
    with capture_logs() as lines:
        (tmp_path / "file" / NAME).unlink()
        (tmp_path / "file").rmdir()
        (tmp_path / "file").write_text("")
        memory.write("{}")
    assert [line["event"] for line in lines] == ["memory_not_kept"]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: the old text stands, and nothing is left beside it."""
    file = written(tmp_path)
    before = file.read_text()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with capture_logs() as lines:
        Memory.read(tmp_path).write("{}")
    assert [line["why"] for line in lines] == ["No space left on device"]
    assert file.read_text() == before
    assert list(tmp_path.iterdir()) == [file]


def test_few_networks_are_kept(tmp_path: Path) -> None:
    """The latest ones; one that is kept anew counts as latest."""
    memory = Memory(tmp_path)
    for number in range(MAX_NETWORKS):
        memory.keep(f"network {number}", KEPT)
    memory.keep("network 0", KEPT)
    memory.keep("another", KEPT)
    memory.write(memory.text())
    later = Memory.read(tmp_path)
    assert later.recall("network 1") is None
    assert None not in [later.recall(name) for name in ("network 0", "network 2", "another")]
    assert json.loads(memory.text())["version"] == VERSION == module.VERSION
