"""What config/deploy ships: systemd itself reads the units, and rates how little they may do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from towline.config import DEFAULT_LISTEN
from towline.types import Target

UNITS = Path(__file__).parents[2] / "config/deploy/systemd"
MAX_EXPOSURE = 20  # tenths, of 10.0 for a unit that restricts nothing

analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@analyze
def test_units_are_understood(tmp_path: Path) -> None:
    """Not one word of either unit is a warning to systemd; only the program itself is not at its place here."""
    for unit in UNITS.iterdir():
        text = re.sub(r"^ExecStart=\S+ .*$", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text)
    command = ["systemd-analyze", "verify", *sorted(map(str, tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@analyze
def test_service_is_hardened() -> None:
    """Its exposure stays below what systemd calls well protected."""
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MAX_EXPOSURE}", "towline.service"]
    done = subprocess.run(command, cwd=UNITS, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout[-200:]


def test_socket_unit_listens_where_the_default_does() -> None:
    """With it or without it, clients keep their setting."""
    found = re.findall(r"^ListenStream=(.*)$", (UNITS / "towline.socket").read_text(), re.MULTILINE)
    assert found == [Target(*address).authority for address in DEFAULT_LISTEN]
