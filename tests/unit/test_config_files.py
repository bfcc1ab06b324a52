"""Files that every user of the machine could write are not believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from towline.config import load
from towline.config.files import CLOSE_IT, OPEN_TO_ALL, is_open_to_all, read_text
from towline.config.values import Invalid
from towline.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with the owner's permissions alone."""
    path = tmp_path / "towline.yaml"
    path.write_text("{}")
    path.chmod(0o640)
    return path


def test_a_file_of_the_owners_is_read(file: Path) -> None:
    """Who may read it is the operator's affair."""
    file.chmod(0o644)
    assert read_text(file, limit=10) == "{}"
    assert load(file, environ={}, discovered=()).path == str(file)


def test_a_file_of_everybodys_is_not(file: Path) -> None:
    """Neither as a configuration, nor where one names it."""
    file.chmod(0o646)
    with pytest.raises(Invalid, match=OPEN_TO_ALL):
        read_text(file, limit=10)
    with pytest.raises(ConfigError) as caught:
        load(file, environ={}, discovered=())
    assert str(caught.value) == f"{file}: {OPEN_TO_ALL}\n  hint: {CLOSE_IT}"


def test_what_lies_on_a_read_only_mount_is_nobodys(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of Windows in a container shows mode 0777."""
    file.chmod(0o777)
    read_only = os.statvfs_result((0,) * 8 + (os.ST_RDONLY, 0))
    monkeypatch.setattr(os, "fstatvfs", lambda _descriptor: read_only)
    assert read_text(file, limit=10) == "{}"


def test_pipes_and_devices_are_whose_they_are() -> None:
    """`-c /dev/stdin` is a way to give a configuration."""
    with Path(os.devnull).open("rb") as device:
        assert not is_open_to_all(device.fileno())
