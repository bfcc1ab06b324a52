from __future__ import annotations

from pathlib import Path

import pytest
from tools.tree import MAX_LINES, NAMES, files, findings


def test_long_module_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module below src may have MAX_LINES lines and no more; a test may be longer."""
    monkeypatch.chdir(tmp_path)
    for folder in ("src", "tests"):
        Path(folder).mkdir()
        Path(folder, "full.py").write_text("x = 1\n" * MAX_LINES)
        Path(folder, "long.py").write_text("x = 1\n" * (MAX_LINES + 1))
    assert [finding for path in sorted(Path().glob("*/*.py")) for finding in findings(path)] == [
        "src/long.py: 351 lines; a module has at most 350: split it"
    ]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_must_not_be_are_found(name: str, tmp_path: Path) -> None:
    """Any file is searched, and the finding says where."""
    path = tmp_path / "notes.md"
    path.write_text(f"first\nsee {name}/x\n")
    (finding,) = findings(path)
    assert finding.startswith(f"{path}:2: names ")


def test_files_are_those_of_the_checkout() -> None:
    """Tracked files are looked at, ignored ones are not."""
    found = set(files())
    assert Path("pyproject.toml") in found
    assert not any(path.is_relative_to(".venv") for path in found)
