"""Where what outlives the process is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from towline.system.state import state_folder


def test_what_the_configuration_says() -> None:
    """A folder, or none; then nothing else counts."""
    environ = {"STATE_DIRECTORY": "/var/lib/towline"}
    assert state_folder(Path("/srv/state"), environ) == Path("/srv/state")
    assert state_folder(None, environ) is None


def test_the_folder_that_systemd_made() -> None:
    """The first of them, where a unit has several."""
    assert state_folder("auto", {"STATE_DIRECTORY": "/var/lib/towline:/var/lib/more"}) == Path("/var/lib/towline")


def test_the_users_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where XDG puts such things; none for a user without a home, and that is said."""
    monkeypatch.setattr("platformdirs.user_state_path", lambda *_, **__: tmp_path / "towline")
    assert state_folder("auto", {}) == tmp_path / "towline"
    monkeypatch.setattr("platformdirs.user_state_path", lambda *_, **__: Path("~/.local/state/towline"))
    with capture_logs() as lines:
        assert state_folder("auto", {}) is None
    assert [line["event"] for line in lines] == ["nothing_is_remembered"]
