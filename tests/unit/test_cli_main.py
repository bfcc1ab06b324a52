from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs
from tests.web.fakes import EXPLAINED, SNAPSHOT, FakeRunning

from towline import __version__
from towline.admin.serve import AdminServer
from towline.cli import configuration
from towline.cli.main import main
from towline.types import Target

BAD = "listn: []\nroutes:\n  vpn: {interfce: wg0}\n"


def towline(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with no environment but what the test gives."""
    command = [sys.executable, "-m", "towline", *args]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=False)


def invoke(*args: str) -> Result:
    """The command in this process."""
    return CliRunner().invoke(main, args)


@pytest.fixture
async def admin() -> AsyncIterator[str]:
    """HOST:PORT of a real admin server."""
    server = AdminServer.bind(FakeRunning(), ("127.0.0.1", 0))
    await server.serve()
    with capture_logs():  # structlog prints to stdout until it is configured
        yield Target(*server.address).authority
    await server.stop()


@pytest.fixture
def no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a configuration file."""
    monkeypatch.setattr(configuration, "_usual_places", lambda _environ: iter([tmp_path / "none.yaml"]))
    monkeypatch.delenv(configuration.ENVIRONMENT, raising=False)


def test_version() -> None:
    """`towline --version` names the program and its version on stdout."""
    done = towline("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"towline {__version__}\n", "")


def test_help_lists_the_commands() -> None:
    """Every command has a line that is not cut."""
    result = invoke("--help")
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.partition("Commands:")[2].splitlines() if line]
    assert [line[0] for line in lines] == ["check", "drain", "explain", "probe", "reload", "resume", "run", "status"]
    assert all(line[-1].endswith(".") and not line[-1].endswith("...") for line in lines)


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("serve",),
        ("status", "--watch"),
        ("explain",),
        ("explain", "127.1"),
        ("explain", "docker.io/library/nginx"),
        ("drain",),
        ("resume",),
        ("status", "--admin", "3129"),
    ],
)
def test_wrong_usage_is_2(args: tuple[str, ...]) -> None:
    """What is wrong with the command line itself goes to stderr, with exit code 2."""
    result = invoke(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: " in result.stderr


@pytest.mark.parametrize("command", ["run", "check"])
def test_bad_configuration_is_78(tmp_path: Path, command: str) -> None:
    """Every problem is told at once, with its line and hint: on stderr by run, as check's data on stdout."""
    file = tmp_path / "towline.yaml"
    file.write_text(BAD)
    done = towline(command, "-c", str(file))
    assert done.returncode == 78
    problems, other = (done.stdout, done.stderr) if command == "check" else (done.stderr, done.stdout)
    assert [line.partition(": ")[0] for line in problems.splitlines()[::2]] == [f"{file}:1", f"{file}:3"]
    assert problems.count("\n  hint: ") == 2
    assert other == ""


def test_named_file_that_is_missing_is_78(tmp_path: Path) -> None:
    """TOWLINE_CONFIG names a file as -c does: it is not replaced by zero configuration."""
    done = towline("run", TOWLINE_CONFIG=str(tmp_path / "missing.yaml"))
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == f"{tmp_path}/missing.yaml: cannot be read: No such file or directory\n"


def test_address_in_use_is_1(tmp_path: Path) -> None:
    """run that cannot have its admin address ends with what, where and a hint as the last words on stderr."""
    file = tmp_path / "towline.yaml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Target(*taken.getsockname()).authority
        file.write_text(f"admin: '{address}'\n")
        done = towline("run", "-c", str(file))
    assert (done.returncode, done.stdout) == (1, "")
    error, hint = done.stderr.splitlines()[-2:]
    assert error == f"error: the admin address {address} is in use"
    assert hint.startswith("hint: ")


def test_check_sums_up(tmp_path: Path) -> None:
    """A right file: what it amounts to on stdout, secrets not among it."""
    (tmp_path / "secret").write_text("hunter2")
    file = tmp_path / "towline.yaml"
    file.write_text(
        "listen: ['127.0.0.1:4000']\nadmin: null\n"
        "routes:\n"
        "  direct: {}\n"
        "  office: {proxy: 'http://p.example:3128', username: ci, password_file: secret}\n"
        "  vpn: {interface: wg0, disabled: true, dns: 'udp://10.8.0.1'}\n"
        "registries:\n  corp: {api: [registry.corp.example]}\n"
    )
    done = towline("check", "-c", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    *lines, last = done.stdout.splitlines()
    assert lines == [
        f"{file}: ok",
        "listen      127.0.0.1:4000",
        "admin       off",
        "routes",
        "  direct  direct",
        "  office  http proxy p.example:3128 as ci",
        "  vpn     disabled: direct by interface wg0, names: udp://10.8.0.1",
    ]
    assert last.startswith("registries  ")
    assert last.endswith(" known, 1 of them from the configuration")


def test_check_of_zero_configuration(tmp_path: Path) -> None:
    """Without a file it is said so, and what the environment offers is there, without its password."""
    done = towline("check", HOME=str(tmp_path), HTTPS_PROXY="http://me:hunter2@p.example:3128")
    assert done.returncode == 0
    assert done.stdout.startswith("no configuration file: ")
    assert "http proxy p.example:3128 as me (HTTPS_PROXY in the environment)" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.usefixtures("no_file")
@pytest.mark.parametrize("args", [("status",), ("explain", "ghcr.io")])
def test_nobody_to_ask_is_1(args: tuple[str, ...]) -> None:
    """No running Towline: what, where and a hint on stderr, nothing on stdout."""
    result = invoke(*args, "--admin", "127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (1, "")
    first, second = result.stderr.splitlines()
    assert first == "error: no Towline answers at 127.0.0.1:1: Connection refused"
    assert second.startswith("hint: ")


async def test_status_shows_the_running_one(admin: str) -> None:
    """Text without colours where stdout is no terminal; JSON as it came with --json."""
    result = await asyncio.to_thread(invoke, "status", "--admin", admin)
    assert result.exit_code == 0
    assert result.stdout.startswith("towline 1.2.3 ready: 1 of 2 routes usable, 2 tunnels open, up 2 h\n")
    raw = await asyncio.to_thread(invoke, "status", "--admin", admin, "--json")
    assert json.loads(raw.stdout) == json.loads(json.dumps(asdict(SNAPSHOT)))


async def test_status_finds_the_admin_address_in_the_file(admin: str, tmp_path: Path) -> None:
    """-c FILE says where the running one is asked, even where the rest of the file could not be loaded."""
    file = tmp_path / "towline.yaml"
    file.write_text(f"admin: '{admin}'\nroutes: {{office: {{password_file: /nowhere}}}}\n")
    result = await asyncio.to_thread(invoke, "status", "-c", str(file))
    assert (result.exit_code, result.stderr) == (0, "")


async def test_status_of_another_version_is_told() -> None:
    """An answer that lacks a key is not shown by halves."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\n\r\n{"routes": [{}], "tunnels": []}')
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        address = Target(*server.sockets[0].getsockname()).authority
        result = await asyncio.to_thread(invoke, "status", "--admin", address)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: what answers at {address} is not a Towline {__version__}\nhint: ")


async def test_explain_says_why(admin: str) -> None:
    """The ranking in the service's own words, every route with its reason."""
    result = await asyncio.to_thread(invoke, "explain", "ghcr.io", "--admin", admin)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "target    ghcr.io:443",
        "registry  ghcr",
        "role      api",
        "rule      ghcr.io",
        "why       vpn: dials in 80 ms",
        " 1. vpn       0.08 s  dials in 80 ms",
        "                      direct by interface wg0, names: udp://192.0.2.53",
        " 2. direct    5.20 s  failed 3 s ago (reset)",
        "  - office  left out  disabled in the configuration",
    ]
    raw = await asyncio.to_thread(invoke, "explain", "ghcr.io", "--admin", admin, "--json")
    assert json.loads(raw.stdout) == EXPLAINED


async def test_explain_tells_a_refusal(admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal stands in the place of the routes; the question was answered, so the exit code is 0."""
    refused = EXPLAINED | {"refused": "port 25 is not in policy.ports\x1b[2J"}
    monkeypatch.setattr(FakeRunning, "explain", lambda _self, _host, _port: refused)
    result = await asyncio.to_thread(invoke, "explain", "ghcr.io:25", "--admin", admin)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == r"refused   port 25 is not in policy.ports\x1b[2J"


async def shown_by(script: str) -> bytes:
    """What a Python of its own prints that runs this script, and ends well."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    stdout, stderr = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, stderr.decode()) == (0, "")
    return stdout


async def test_asking_starts_fast(admin: str) -> None:
    """`status` and `explain` load nothing slow: the imports are the start-up time, and they are what can be held."""
    script = (
        "import sys\n"
        "from towline.cli.main import main\n"
        f"main(['status', '--admin', {admin!r}], standalone_mode=False)\n"
        f"main(['explain', 'ghcr.io', '--admin', {admin!r}], standalone_mode=False)\n"
        "slow = {'mitmproxy', 'pydantic', 'rich', 'structlog', 'tornado', 'asyncio', 'psutil'} & sys.modules.keys()\n"
        "sys.exit(', '.join(sorted(slow)) or 0)\n"
    )
    stdout = await shown_by(script)
    assert b"towline 1.2.3 ready" in stdout
    assert b"why       vpn" in stdout


async def test_help_starts_faster() -> None:
    """What asks nothing loads neither an HTTP client nor what shows an answer."""
    script = (
        "import sys\n"
        "from towline.cli.main import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "slow = {'http.client', 'towline.views', 'mitmproxy', 'pydantic', 'structlog', 'asyncio'}\n"
        "sys.exit(', '.join(sorted(slow & sys.modules.keys())) or 0)\n"
    )
    stdout = await shown_by(script)
    assert b"explain" in stdout


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)])
async def test_no_color_is_honoured(
    admin: str, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], coloured: bool
) -> None:
    """On a terminal there are colours, unless NO_COLOR holds any text."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    result = await asyncio.to_thread(CliRunner().invoke, main, ["status", "--admin", admin], color=True)
    assert ("\x1b[" in result.stdout) is coloured
