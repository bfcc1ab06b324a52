"""Attacks by what a Towline is started with: addresses, files, descriptors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.addon.whole import free_port
from tests.attacks.conftest import OpenDoor
from tests.attacks.row import Row, attempt
from tests.attacks.rows import connect
from tests.attacks.world import CLIENT
from tests.e2e.rig.process import Daemon, environment, run_any, wait_until

BAD_CONFIG = 78


def towline(folder: Path, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A command of Towline's that is expected to end by itself."""
    return run_any([sys.executable, "-m", "towline", *argv], env=environment(folder, **env), timeout=30)


@pytest.mark.parametrize("listen", ["0.0.0.0:3128", "[::]:3128", "172.17.0.1:3128"])
def test_listening_for_everybody(tmp_path: Path, listen: str) -> None:
    """Beyond this machine Towline listens for whom it was told to, and else not at all."""
    config = tmp_path / "towline.yaml"
    config.write_text(f"listen: ['{listen}']\n")
    ended = towline(tmp_path, "run", "-c", str(config))
    assert ended.returncode == BAD_CONFIG
    assert "access.clients does not say for whom" in ended.stderr
    assert f"{config}:1: " in ended.stderr


def test_clients_of_other_networks(open_door: OpenDoor) -> None:
    """Who is not in access.clients gets 403, whatever it asks for, and nothing is dialled."""
    door = open_door(access={"clients": ["172.17.0.0/16"]})
    seen = attempt(door.world, Row(42, "", connect("registry.test:443")))
    assert (seen.status, seen.is_closed, seen.strays, seen.arrived) == (403, True, 0, ())
    assert door.await_record("refused")["code"] == "client"
    assert CLIENT.encode() in seen.answer


BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
HOSTILE = {
    "aliases that multiply": (BOMB, "1: anchors (&) and aliases (*) are not accepted"),
    "a tag that runs code": ("routes: !!python/object/apply:os.system ['true']\n", "1: tags (!) are not accepted"),
    "an unknown key": ("listne: ['127.0.0.1:3128']\n", "1: listne: "),
    "a key given twice": ("admin: null\nadmin: '127.0.0.1:1'\n", "2: admin: given twice, first on line 1"),
    "a megabyte of pattern": (f"policy: {{private_targets: ['{'a*' * 500_000}']}}\n", "1: policy.private_targets"),
    "too much of everything": ("# " + "x" * (1 << 20), "the file is longer than"),
    "depth": ("[" * 10_000, "nested more than 8 levels deep"),
    "metadata opened": ("policy:\n  private_targets: [169.254.169.254]\n", "2: policy.private_targets"),
    "the admin port opened": ("policy: {ports: [443, 3129]}\n", "1: admin: policy.ports lets clients"),
    "a password where none belongs": ("routes:\n  a: {proxy: 'http://u:hunter2@p.example:1'}\n", "2: routes.a.proxy: "),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_configuration(tmp_path: Path, name: str) -> None:
    """A hostile file ends the start with its line, in bounded time and words, and without what it said."""
    text, says = HOSTILE[name]
    config = tmp_path / "towline.yaml"
    config.write_text(text)
    ended = towline(tmp_path, "run", "-c", str(config))
    assert ended.returncode == BAD_CONFIG, ended.stderr
    assert says in ended.stderr
    assert "hunter2" not in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr) < 4096


def test_a_file_that_everybody_can_write(tmp_path: Path) -> None:
    """Nobody else decides over the routes."""
    config = tmp_path / "towline.yaml"
    config.write_text("{}")
    config.chmod(0o666)
    ended = towline(tmp_path, "check", "-c", str(config))
    assert (ended.returncode, "can write to it" in ended.stdout) == (BAD_CONFIG, True)


def test_a_reload_is_whole_or_nothing(open_door: OpenDoor) -> None:
    """Of a file that is wrong in one place nothing is taken over, not what it opens either."""
    door = open_door()
    settings = yaml.safe_load(door.config.read_text())
    settings["policy"] = {"private_targets": ["10.0.0.0/8"]}
    settings["routes"] = {"direct": {}, "bad": {"proxy": "ftp://p.example:1"}}
    door.config.write_text(yaml.safe_dump(settings))
    door.process.signal(signal.SIGHUP)
    wait_until(lambda: door.status()["reload"]["count"] == 1, "the reload has ended", timeout=10)
    seen = attempt(door.world, Row(43, "", connect("10.0.0.5:443")))
    assert (seen.status, seen.strays) == (403, 0)
    assert [route["name"] for route in door.status()["routes"]] == ["direct"]


def test_descriptors_of_another_process(tmp_path: Path) -> None:
    """LISTEN_FDS for another process id is left alone: descriptor 3 stays what it is."""
    config = tmp_path / "towline.yaml"
    config.write_text(f"listen: ['127.0.0.1:{free_port()}']\nadmin: null\n")
    reading, writing = os.pipe()
    try:
        argv = [sys.executable, "-m", "towline", "run", "-c", str(config)]
        env = environment(tmp_path, LISTEN_FDS=str(reading), LISTEN_PID="1")
        with Daemon("towline", argv, env=env, log=tmp_path / "log", pass_fds=[reading]) as process:
            process.wait_until(lambda: '"listening"' in process.output(), "it listens")
            assert "LISTEN_FDS" not in process.output()
    finally:
        os.close(reading)
        os.close(writing)
