from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import structlog
from tests.logging_kept import logging_kept

from towline.admin import log
from towline.config import LogPolicy

Form = Literal["auto", "text", "json"]
Level = Literal["debug", "info", "warning", "error"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    """Put back what configure() changes in the whole process."""
    with logging_kept():
        yield


def configured(
    form: Form, level: Level = "info", stream: io.StringIO | None = None, environ: Mapping[str, str] = {}
) -> tuple[structlog.stdlib.BoundLogger, io.StringIO]:
    """A logger of the service, and what it writes to."""
    out = io.StringIO() if stream is None else stream
    log.configure(LogPolicy(level, form), stream=out, environ=environ)
    logger: structlog.stdlib.BoundLogger = structlog.get_logger("towline")
    return logger, out


def objects(out: io.StringIO) -> list[dict[str, Any]]:
    """What was written as JSON lines."""
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_json_has_one_object_per_line() -> None:
    """The fixed keys come first, then the event's own, with numbers, lists and null as JSON has them."""
    logger, out = configured("json")
    logger.info("tunnel", target="ghcr.io:443", bytes_in=3, seconds=0.5, attempts=["vpn: reset"], route=None)
    logger.warning("no_route")
    first, second = objects(out)
    assert list(first)[:4] == ["ts", "level", "event", "logger"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("ts"))
    assert first == {
        "level": "info",
        "event": "tunnel",
        "logger": "towline",
        "target": "ghcr.io:443",
        "bytes_in": 3,
        "seconds": 0.5,
        "attempts": ["vpn: reset"],
        "route": None,
    }
    assert (second["level"], second["event"]) == ("warning", "no_route")


def test_text_is_aligned_and_quoted() -> None:
    """A line for people: the keys line up, and a value that could be misread stands in quotes."""
    logger, out = configured("text")
    logger.info(
        "tunnel", target="ghcr.io:443", why='vpn: "fast" = 80 ms', attempts=["vpn: reset", "office: 407"], empty=""
    )
    logger.error("listening", bytes_in=3)
    first, second = out.getvalue().splitlines()
    assert first[25:] == (
        r'info     tunnel       target=ghcr.io:443 why="vpn: \"fast\" = 80 ms" '
        'attempts="vpn: reset; office: 407" empty=""'
    )
    assert second[25:] == "error    listening    bytes_in=3"


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "evil", ["a\nlevel=error forged", "a\r\nb", "\x1b[31mred\x1b[0m", "\x9b31m", "\u202egpj", "\u2028x", "\udc80"]
)
def test_wire_text_is_escaped(form: Form, evil: str) -> None:
    """No line break, ANSI sequence or direction mark gets out of any value or event, even decoded from JSON."""
    logger, out = configured(form)
    logger.info(evil, host=evil, attempts=[evil], counts={evil: evil})
    logging.getLogger("mitmproxy.proxy.server").error("cannot connect to %s", evil)
    assert out.getvalue().count("\n") == 2
    assert all(line.isprintable() for line in out.getvalue().splitlines())
    if form == "json":
        assert all(
            str(value).isprintable() and "\\" in str(value)
            for entry in objects(out)
            for key, value in entry.items()
            if key in {"event", "host", "attempts", "counts"}
        )


def test_long_values_are_cut() -> None:
    """A value has 256 characters at most and an event 1024; a cut shows as dots."""
    logger, out = configured("json")
    logger.info("e" * 5000, host="h" * 5000, escaped="\n" * 5000)
    (entry,) = objects(out)
    assert entry["host"] == "h" * 253 + "..."
    assert entry["event"] == "e" * 1021 + "..."
    assert len(entry["escaped"]) == 256


def test_numbers_without_a_json_form_are_text() -> None:
    """NaN and infinity do not make a line that JSON parsers refuse."""
    logger, out = configured("json")
    logger.info("rate", value=float("inf"))
    assert objects(out)[0]["value"] == "inf"


def test_traceback_forges_no_line_in_text() -> None:
    """An exception's message may hold anything: its lines are indented, so that none begins like a record."""
    logger, out = configured("text")
    logger.error("failed", exc_info=ValueError("boom\n2026-01-01T00:00:00.000Z error forged\x1b[31m"))
    head, *rest = out.getvalue().splitlines()
    assert head.endswith("error    failed")
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    assert rest[-1].strip() == r"2026-01-01T00:00:00.000Z error forged\x1b[31m"


def test_traceback_is_one_value_in_json() -> None:
    """The traceback keeps its line breaks as JSON's escapes, under `exception`, and a long one keeps its end."""
    logger, out = configured("json")
    logger.error("failed", exc_info=ValueError("boom\n" * 9000 + "end"))
    (entry,) = objects(out)
    assert entry["exception"].endswith("boom\nend")
    assert len(entry["exception"]) <= log.MAX_TRACEBACK


def test_mitmproxy_lands_in_the_same_stream() -> None:
    """Its crashes are seen with client and traceback; its line for every connection is not."""
    _, out = configured("json")
    server = logging.getLogger("mitmproxy.proxy.server")
    server.info("client connect", extra={"client": ("127.0.0.1", 50312)})
    server.error("mitmproxy has crashed!", extra={"client": ("::1", 50312, 0, 0)}, exc_info=RuntimeError("layer"))
    (entry,) = objects(out)
    assert entry["event"] == "mitmproxy has crashed!"
    assert (entry["logger"], entry["client"]) == ("mitmproxy.proxy.server", "[::1]:50312")
    assert "RuntimeError: layer" in entry["exception"]


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["own debug", "own info", "own error", "its info", "its warning", "its error"]),
        ("info", ["own info", "own error", "its warning", "its error"]),
        ("warning", ["own error", "its warning", "its error"]),
        ("error", ["own error", "its error"]),
    ],
)
def test_levels(level: Level, heard: list[str]) -> None:
    """The level holds for everything; mitmproxy's loggers stay at WARNING or above unless it is debug."""
    logger, out = configured("json", level)
    its = logging.getLogger("mitmproxy.proxy.server")
    logger.debug("own debug")
    logger.info("own info")
    logger.error("own error")
    its.info("its info")
    its.warning("its warning")
    its.error("its error")
    assert [entry["event"] for entry in objects(out)] == heard


@pytest.mark.parametrize("name", ["httpx", "httpcore.http11", "tornado.general"])
def test_urls_and_headers_of_libraries_stay_out(name: str) -> None:
    """They may hold a token, or a signature: not even at debug, nor under mitmdump."""
    _, out = configured("json", "debug")
    library = logging.getLogger(name)
    library.info("HTTP Request: GET https://cdn.test/layer?signature=secret")
    library.debug("response headers: set-cookie: secret")
    library.warning("told")
    assert [entry["event"] for entry in objects(out)] == ["told"]
    library.setLevel(logging.NOTSET)
    log.use_logging()
    assert not library.isEnabledFor(logging.INFO)


def test_levels_between_have_the_lower_word() -> None:
    """mitmproxy's ALERT (21) is info and not a word of its own, so that a filter for levels finds it."""
    _, out = configured("json", "debug")
    logging.getLogger("mitmproxy").log(21, "alert")
    logging.getLogger("mitmproxy").log(5, "trace")
    logging.getLogger().critical("last words")
    assert [entry["level"] for entry in objects(out)] == ["info", "critical"]


def test_python_warnings_are_records() -> None:
    """A warning does not break the stream of JSON lines."""
    _, out = configured("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)  # catch_warnings remembers the function that shows a warning
        logging.captureWarnings(capture=True)
        warnings.warn("old", UserWarning, stacklevel=1)
    (entry,) = objects(out)
    assert (entry["level"], entry["logger"]) == ("warning", "py.warnings")
    assert "UserWarning: old" in entry["event"]


def test_configure_again_replaces() -> None:
    """A second call does not double the lines."""
    _, before = configured("json")
    logger, after = configured("json")
    logger.info("once")
    assert (before.getvalue(), len(objects(after))) == ("", 1)


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_terminal_has_text(environ: dict[str, str], coloured: bool) -> None:
    """On a terminal: the time of day, and colours unless NO_COLOR holds any text or the terminal is dumb."""
    logger, out = configured("auto", stream=Terminal(), environ=environ)
    logger.warning("no_route", target="ghcr.io:443")
    level = "\x1b[33mwarning \x1b[0m" if coloured else "warning "
    pattern = r"\d\d:\d\d:\d\d\.\d{3} " + re.escape(f"{level} no_route     target=ghcr.io:443\n")
    assert re.fullmatch(pattern, out.getvalue())


def test_pipe_has_json() -> None:
    """A container's log or a pipe is read by a program first."""
    logger, out = configured("auto")
    logger.info("listening")
    assert objects(out)[0]["event"] == "listening"


def test_terminal_may_have_json() -> None:
    """The configured format holds wherever the log goes."""
    logger, out = configured("json", stream=Terminal())
    logger.info("listening")
    assert objects(out)[0]["event"] == "listening"


def test_journal_has_priorities_and_no_time(tmp_path: Path) -> None:
    """Under systemd: text behind the priority, on every line, since journald makes an entry of each."""
    with (tmp_path / "journal").open("w+") as stream:
        stat = (tmp_path / "journal").stat()
        log.configure(
            LogPolicy("info", "auto"), stream=stream, environ={"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"}
        )
        structlog.get_logger("towline").info("listening", addresses=["127.0.0.1:3128"])
        logging.getLogger("mitmproxy").error("crashed", exc_info=ValueError("x"))
        stream.seek(0)
        assert stream.read() == (
            "<6>info     listening    addresses=127.0.0.1:3128\n"
            "<3>error    crashed      logger=mitmproxy\n"
            "<3>    ValueError: x\n"
        )


def test_foreign_journal_stream_is_no_journal(tmp_path: Path) -> None:
    """JOURNAL_STREAM is inherited: where stderr was redirected since, it names another file."""
    with (tmp_path / "file").open("w+") as stream:
        log.configure(LogPolicy("info", "auto"), stream=stream, environ={"JOURNAL_STREAM": "1:1"})
        structlog.get_logger("towline").info("listening")
        stream.seek(0)
        assert json.loads(stream.read())["event"] == "listening"


def test_use_logging_keeps_what_is_set_up(caplog: pytest.LogCaptureFixture) -> None:
    """Under mitmdump: its handlers stay, and get text, with level, logger and traceback where logging has them."""
    handlers = logging.getLogger().handlers[:]
    log.use_logging()
    logger = structlog.get_logger("towline")
    with caplog.at_level(logging.INFO):
        logger.debug("not heard")
        logger.info("tunnel", target="ghcr.io:443", why="100 %s\n")
        logger.error("failed", exc_info=ValueError("x"))
    assert logging.getLogger().handlers == handlers
    first, second = caplog.records
    assert (first.name, first.levelname) == ("towline", "INFO")
    assert first.getMessage() == r'tunnel       target=ghcr.io:443 why="100 %s\n"'
    assert (second.getMessage(), second.levelname) == ("failed", "ERROR")
    assert second.exc_info is not None
    assert second.exc_info[0] is ValueError
