from __future__ import annotations

from pathlib import Path

import pytest

from towline.cli import configuration
from towline.cli.configuration import DEFAULT_ADMIN, AdminSide, admin_side, find
from towline.errors import AdminError


def written(place: Path, text: str = "{}") -> Path:
    """A file with its folders."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def test_default_admin_is_the_configurations() -> None:
    """The copy that saves an import does not drift."""
    from towline import config

    assert config.DEFAULT_ADMIN == DEFAULT_ADMIN


def test_named_file_is_taken_unseen(tmp_path: Path) -> None:
    """What was named is read, or reported as missing: never replaced by another file."""
    written(tmp_path / ".config/towline/towline.yaml")
    assert find(tmp_path / "missing.yaml", {"HOME": str(tmp_path)}) == tmp_path / "missing.yaml"


def test_environment_names_a_file(tmp_path: Path) -> None:
    """TOWLINE_CONFIG counts as naming one, for mitmdump's addon as well; empty it names none, and -c goes before it."""
    file = written(tmp_path / ".config/towline/towline.yaml")
    environ = {"HOME": str(tmp_path), "TOWLINE_CONFIG": "missing.yaml"}
    assert find(None, environ) == Path("missing.yaml")
    assert find(Path("named.yaml"), environ) == Path("named.yaml")
    assert find(None, environ | {"TOWLINE_CONFIG": ""}) == file


def test_usual_places_in_order(tmp_path: Path) -> None:
    """XDG_CONFIG_HOME comes first, and ~/.config is its default."""
    home = written(tmp_path / ".config/towline/towline.yaml")
    xdg = written(tmp_path / "xdg/towline/towline.yaml")
    assert find(None, {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}) == xdg
    assert find(None, {"HOME": str(tmp_path)}) == home
    assert find(None, {"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""}) == home


def test_relative_xdg_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its specification wants it, and so that the working directory decides nothing."""
    written(tmp_path / "xdg/towline/towline.yaml")
    monkeypatch.chdir(tmp_path)
    assert list(configuration._usual_places({"XDG_CONFIG_HOME": "xdg"})) == [Path("/etc/towline/towline.yaml")]
    assert list(configuration._usual_places({})) == [Path("/etc/towline/towline.yaml")]


def test_nothing_anywhere_is_zero_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file the default admin address is asked."""
    monkeypatch.setattr(configuration, "_usual_places", lambda _environ: iter([tmp_path / "none.yaml"]))
    assert find(None, {}) is None
    assert admin_side(None, None) == AdminSide(DEFAULT_ADMIN)


def test_unreadable_place_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that may not be looked into may hold the file: it is not skipped in silence."""

    def refuse(_self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", refuse)
    assert find(None, {"HOME": str(tmp_path)}) == tmp_path / ".config/towline/towline.yaml"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ('admin: "127.0.0.1:4000"', ("127.0.0.1", 4000)),
        ('admin: "[::1]:4000"', ("::1", 4000)),
        ("routes: {office: {proxy: 'http://p.example:3128', password_file: /nowhere}}", DEFAULT_ADMIN),
        ("", DEFAULT_ADMIN),
    ],
)
def test_admin_address_needs_its_key_alone(tmp_path: Path, text: str, address: tuple[str, int]) -> None:
    """Secrets that this user cannot read, or that are gone, do not keep `status` from asking."""
    assert admin_side(written(tmp_path / "towline.yaml", text), None) == AdminSide(address)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("admin: null", "the admin side is off"),
        ("admin: localhost", "admin: the target has no port"),
        ("admin: [", "is not YAML"),
        ("admin: \x01", "is not YAML"),
    ],
)
def test_admin_address_that_cannot_be_asked(tmp_path: Path, text: str, error: str) -> None:
    """Each error names the file and what to do."""
    file = written(tmp_path / "towline.yaml", text)
    with pytest.raises(AdminError) as caught:
        admin_side(file, None)
    assert str(file) in str(caught.value)
    assert error in str(caught.value)
    assert "\nhint: " in str(caught.value)


def test_missing_named_file_is_told(tmp_path: Path) -> None:
    """A file that was named and is not there is an error, also for the commands that only ask."""
    with pytest.raises(AdminError, match="cannot be read: No such file or directory"):
        admin_side(tmp_path / "missing.yaml", None)


def test_token_file_is_found_from_the_file_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative name starts at the folder of the configuration, wherever the command runs; --admin changes nothing."""
    file = written(tmp_path / "etc/towline.yaml", "admin_token_file: admin.token")
    monkeypatch.chdir(file.parent)
    for address in (None, ("127.0.0.1", 4000)):
        side = admin_side(Path("towline.yaml"), address)
        assert side == AdminSide(address or DEFAULT_ADMIN, tmp_path / "etc/admin.token")


@pytest.mark.parametrize("text", ["admin: [", "admin: null", "admin: nonsense"])
def test_admin_option_needs_no_file(tmp_path: Path, text: str) -> None:
    """Who names the address is not held up by a file that is broken, or that has no address."""
    address = ("127.0.0.1", 4000)
    assert admin_side(written(tmp_path / "towline.yaml", text), address) == AdminSide(address)
