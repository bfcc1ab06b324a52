"""The bench's contenders: each is told to listen on the port that it is measured at."""

import json
from pathlib import Path

import pytest
from tests.bench.peers.contenders import CONTENDERS, Contender

from towline.config import load


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda one: one.name)
def test_the_port_is_in_its_command_or_its_file(contender: Contender, tmp_path: Path) -> None:
    """So that two of them can be measured side by side."""
    argv = contender.argv(tmp_path, 31280, 31281)
    files = "".join(file.read_text() for file in tmp_path.iterdir())
    assert "31280" in " ".join(argv) + files


def test_towlines_own_configuration_is_valid(tmp_path: Path) -> None:
    """As a bad one would show only as a proxy that does not start."""
    next(one for one in CONTENDERS if one.name == "towline").argv(tmp_path, 31280, 31281)
    config = load(tmp_path / "towline.yaml", environ={}, discovered=[])
    assert config.listen == (("127.0.0.1", 31280),)
    assert 31281 in config.policy.ports


def test_v2rays_configuration_is_json(tmp_path: Path) -> None:
    """It takes nothing else."""
    next(one for one in CONTENDERS if one.name == "v2ray").argv(tmp_path, 31280, 31281)
    assert json.loads((tmp_path / "v2ray.json").read_text())["inbounds"][0]["port"] == 31280


def test_a_program_that_is_not_installed_is_not_here() -> None:
    """It is left out, and the bench says so."""
    assert not Contender("none", "/nowhere/proxy", lambda *_: []).is_here
