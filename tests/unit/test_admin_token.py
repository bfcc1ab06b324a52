"""The token file: who can read it, what is refused, and where it is looked for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import platformdirs
import pytest

from towline.errors import AdminError
from towline.system.admin_token import kept, made, place, places, read

TOKEN = "0123456789abcdefABCDEF-._~+/0123"  # 32 characters


def written(path: Path, text: str = TOKEN, mode: int = 0o600) -> Path:
    """A file with these permissions, whatever the umask."""
    path.write_text(text)
    path.chmod(mode)
    return path


def mode_of(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_made_token_is_ours_alone(tmp_path: Path) -> None:
    """Mode 0600 in a folder of 0700, also under a umask that gives all; it is gone at the end."""
    path = tmp_path / "state" / "towline" / "admin-1.token"
    before = os.umask(0)
    try:
        with made(path) as token:
            assert (mode_of(path), mode_of(path.parent)) == (0o600, 0o700)
            assert read(path) == token
    finally:
        os.umask(before)
    assert list(path.parent.iterdir()) == []


def test_made_token_is_new_each_time(tmp_path: Path) -> None:
    """256 bits, and none of them those of the last start."""
    tokens = []
    for _ in range(2):
        with made(tmp_path / "token") as token:
            tokens.append(token.reveal())
    assert tokens[0] != tokens[1]
    assert all(len(token) == 43 for token in tokens)  # 32 bytes in base64, unpadded


def test_left_over_token_is_replaced(tmp_path: Path) -> None:
    """One that a killed Towline left, even with other permissions, gives way; a link is not followed."""
    target = written(tmp_path / "target", "precious")
    for left_over in (written(tmp_path / "old", mode=0o644), tmp_path / "link"):
        if left_over.name == "link":
            left_over.symlink_to(target)
        with made(left_over) as token:
            assert (read(left_over), mode_of(left_over), left_over.is_symlink()) == (token, 0o600, False)
    assert target.read_text() == "precious"


def test_successors_token_stays(tmp_path: Path) -> None:
    """A Towline that ends does not take the token of the one that has its port by now."""
    path = tmp_path / "token"
    with made(path), made(tmp_path / "other") as token:
        (tmp_path / "other").replace(path)
    assert read(path) == token


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    """The file, and the system's reason."""
    file = written(tmp_path / "file")
    with pytest.raises(AdminError, match=f"cannot be written to {file}/token: File exists"), made(file / "token"):
        pass


def test_user_without_a_home() -> None:
    """No folder called `~` appears in the working directory."""
    with pytest.raises(AdminError, match="this user has no home"), made(Path("~/.local/state/towline/token")):
        pass
    assert not Path("~").exists()


def test_kept_token_is_the_operators(tmp_path: Path) -> None:
    """Its line end does not count; it stays as it is."""
    path = written(tmp_path / "token", f"{TOKEN}\r\n", 0o400)
    assert kept(path).reveal() == TOKEN
    assert path.read_text() == f"{TOKEN}\n"


def test_kept_token_is_made_where_there_is_none(tmp_path: Path) -> None:
    """And stays, so that whoever was given it may keep it."""
    path = tmp_path / "token"
    token = kept(path)
    assert (kept(path), mode_of(path)) == (token, 0o600)


def test_kept_token_behind_a_link(tmp_path: Path) -> None:
    """Kubernetes mounts a secret as a link to a link."""
    path = tmp_path / "link"
    path.symlink_to(written(tmp_path / "token"))
    assert kept(path).reveal() == TOKEN


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o666])
def test_open_file_is_refused(tmp_path: Path, mode: int) -> None:
    """Whoever else may read, write or run it is one too many; the text says what to do and not what it holds."""
    path = written(tmp_path / "token", mode=mode)
    for use in (kept, read):
        with pytest.raises(AdminError) as caught:
            use(path)
        assert str(caught.value) == f"the admin token {path} is open to other users\nhint: chmod 600 {path}"


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a file of root's")
def test_file_of_roots_may_be_read_by_our_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Kubernetes gives a secret to a container without root; but not be written, nor be read by all."""
    path = written(tmp_path / "token", mode=0o440)
    monkeypatch.setattr(os, "geteuid", lambda: 10_001)
    assert kept(path).reveal() == TOKEN
    for mode in (0o460, 0o444):
        path.chmod(mode)
        with pytest.raises(AdminError, match="is open to other users"):
            kept(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_file_of_another_user_is_refused(tmp_path: Path) -> None:
    """Root would read it, and its owner could have put any token into it."""
    path = written(tmp_path / "token")
    os.chown(path, 10_001, 10_001)
    with pytest.raises(AdminError, match="belongs to another user"):
        kept(path)
    assert read(path).reveal() == TOKEN, "who asks may: a wrong token opens nothing"


@pytest.mark.parametrize(
    "text",
    ["", "\n", "hunter2", "x" * 31, f"{TOKEN} {TOKEN}", f"{TOKEN}\n{TOKEN}", "ü" * 40, "=" * 40, "x" * 2000],
    ids=range(9),
)
def test_what_is_no_token(tmp_path: Path, text: str) -> None:
    """Too short to be safe, or nothing that a header can carry; what it is is not repeated."""
    with pytest.raises(AdminError, match="holds no token\nhint: 32 to 512 of") as caught:
        kept(written(tmp_path / "token", text))
    assert not text.strip() or text.strip() not in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    """A folder and a FIFO are not waited for."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(AdminError, match="is not a regular file"):
            kept(path)


def test_folder_that_is_closed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's file has the system's reason."""

    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(AdminError, match=f"{tmp_path} cannot be read: Permission denied"):
        kept(tmp_path)


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made below RuntimeDirectory= of systemd or the user's state; looked for in both, the unit's and the session's."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setattr(platformdirs, "user_state_path", lambda name, appauthor: tmp_path / name)
    mine, unit, session = tmp_path / "towline", Path("/run/towline"), Path("/run/user/7/towline")
    assert place(3129) == mine / "admin-3129.token"
    assert places(3129) == tuple(folder / "admin-3129.token" for folder in (mine, unit, session))
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/towline:/run/other")
    assert place(1) == unit / "admin-1.token"
    assert places(1) == tuple(folder / "admin-1.token" for folder in (unit, mine, session))
