"""The log: structlog over the standard library's logging, so that mitmproxy's records land in the same stream.

One record is one line on stderr:

    json      {"ts": "2026-01-31T12:00:00.123Z", "level": "info", "event": "...", "logger": "towline", ...}
    text      12:00:00.123 info     event padded to a column       key=value key="two words"
    journal   the same without the time, behind the `<6>` prefix that gives journald its priority (sd-daemon(3))

`auto` is text where a person reads along, on a terminal or in systemd's journal, and json elsewhere: a container's log
or a pipe is read by a program first. Text that goes to neither has the date and UTC in front.

Values are escaped in every format, in JSON too: `jq -r` prints to a terminal what JSON's own escapes had kept from it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from towline.admin.text import escape
from towline.config import LogPolicy
from towline.types import Target

MAX_EVENT = 1024  # characters of an event: asyncio and mitmproxy format whole contexts into theirs
MAX_TRACEBACK = 16_384  # characters of a traceback: what a deep one takes
EVENT_COLUMN = 12  # characters that an event is padded to in text: Towline's own are one word (`tunnel`, `refused`)

CHATTY = ("asyncio", "mitmproxy", "tornado")
"""Loggers heard from WARNING up, unless the level is debug: mitmproxy tells of every connection at INFO."""

INDISCREET = ("tornado.general", "httpx", "httpcore")
"""Loggers heard from WARNING up at every level: below, they repeat headers and URLs, which may hold tokens."""

PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""syslog priorities (RFC 5424 6.2.1), as sd-daemon(3) reads them."""

COLOURS = {"debug": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[1;31m"}
RESET = "\x1b[0m"


type Renderer = Callable[[WrappedLogger, str, EventDict], str]


def configure(policy: LogPolicy, *, stream: TextIO | None = None, environ: Mapping[str, str] | None = None) -> None:
    """Send every record of this process, structlog's and logging's, to `stream` (stderr) as `policy` says.

    May be called again: the last call holds. `environ` (os.environ) is read for NO_COLOR, TERM and JOURNAL_STREAM.
    """
    out = sys.stderr if stream is None else stream
    render = _renderer(policy, out, os.environ if environ is None else environ)
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        ProcessorFormatter(
            processors=[
                _facts,
                ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _safe,
                render,
            ]
        )
    )
    level = getattr(logging, policy.level.upper())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(level if level <= logging.DEBUG else max(level, logging.WARNING))
    _hush(level)
    logging.captureWarnings(capture=True)  # else Python's warnings reach stderr as bare text between the lines
    _send_through_logging(ProcessorFormatter.wrap_for_formatter)


def use_logging() -> None:
    """Send structlog's events as text to logging as it is set up: under mitmdump, which has handlers of its own."""
    _hush(logging.WARNING)
    _send_through_logging(_message)


def _hush(level: int) -> None:
    for name in INDISCREET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _send_through_logging(last: Processor) -> None:
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, last],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _renderer(policy: LogPolicy, stream: TextIO, environ: Mapping[str, str]) -> Renderer:
    """The last processor, which makes the line, for this format on this stream."""
    terminal, journal = stream.isatty(), _is_journal(stream, environ)
    if policy.format == "json" or (policy.format == "auto" and not terminal and not journal):
        return _json_line
    if journal:
        return _journal_lines
    if not terminal:
        return _TextLine(stamp=lambda ts: f"{ts} ", colours=False)
    plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"  # no-color.org: any text that is not empty
    return _TextLine(stamp=_local_time, colours=not plain)


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """True where `stream` is the journal's: systemd.exec(5) has JOURNAL_STREAM name its device and inode."""
    try:
        stat = os.fstat(stream.fileno())
    except OSError:  # a stream without a descriptor (io.UnsupportedOperation), or closed
        return False
    return environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"


def _facts(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Put what the record knows in front: time, level, event, logger, and mitmproxy's `client`."""
    record: logging.LogRecord = event["_record"]
    stamp = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    facts = {
        "ts": stamp,
        "level": _level(record.levelno),
        "event": event.pop("event"),
        "logger": record.name,
    }
    client = getattr(record, "client", None)
    if isinstance(client, tuple):  # mitmproxy's proxy.server adds the client's socket address to its records
        facts["client"] = Target(client[0], client[1]).authority
    return {**facts, **event}


def _level(number: int) -> str:
    """The level's word; a level between two, as mitmproxy's ALERT above INFO, has the lower one's."""
    return next((name for name in reversed(PRIORITIES) if number >= getattr(logging, name.upper())), "debug")


def _safe(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Escape every value; a traceback keeps its line breaks, which the renderers indent or encode."""
    safe = {key: _value(value) for key, value in event.items()}
    safe["event"] = escape(str(event["event"]).rstrip(), MAX_EVENT)
    if "exception" in event:
        text = str(event["exception"])[-MAX_TRACEBACK:]  # the end names the exception
        safe["exception"] = "\n".join(escape(line, MAX_EVENT) for line in text.split("\n"))
    return safe


def _value(value: object) -> object:
    match value:
        case float() if not math.isfinite(value):  # JSON has no word for these
            return str(value)
        case None | bool() | int() | float():
            return value
        case list() | tuple():
            return [_value(item) for item in value]
        case dict():
            return {escape(str(key)): _value(item) for key, item in value.items()}
        case _:
            return escape(str(value))


def _json_line(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    """One JSON object in one line of ASCII."""
    return json.dumps(event)


@dataclass(frozen=True, slots=True)
class _TextLine:
    """Time, level, event and `key=value` in one line; a traceback follows, indented so that it forges no record."""

    stamp: Callable[[str], str]
    """What stands in front of the level, made of the record's `ts`."""
    colours: bool

    def __call__(self, _logger: WrappedLogger, _name: str, event: EventDict) -> str:
        """Render one event that _facts and _safe have prepared."""
        fields = dict(event)
        stamp, level, name = self.stamp(fields.pop("ts")), fields.pop("level"), fields.pop("event")
        exception = fields.pop("exception", None)
        if fields["logger"].partition(".")[0] == "towline":
            del fields["logger"]  # a reader wants the name of a stranger only
        line = f"{stamp}{self._coloured(level)} {_event(name, fields)}"
        return line if exception is None else "\n    ".join([line, *exception.split("\n")])

    def _coloured(self, level: str) -> str:
        text = f"{level:<8}"
        return f"{COLOURS[level]}{text}{RESET}" if self.colours and level in COLOURS else text


def _event(name: str, fields: Mapping[str, object]) -> str:
    """`event       key=value ...`"""
    pairs = " ".join(f"{key}={_word(value)}" for key, value in fields.items())
    return f"{name:<{EVENT_COLUMN}} {pairs}" if pairs else name


def _word(value: object) -> str:
    """A value as it stands in text: lists joined by `; `, and quoted where it could be misread."""
    match value:
        case str():
            text = value
        case list():
            text = "; ".join(str(item) for item in value)
        case _:
            text = json.dumps(value)
    return text if text and not set(text) & set(' "=') else '"' + text.replace('"', '\\"') + '"'


def _local_time(ts: str) -> str:
    """`12:00:00.123 ` on this machine's clock: a person at a terminal reads today's log."""
    return datetime.fromisoformat(ts).astimezone().strftime("%H:%M:%S.%f")[:-3] + " "


def _journal_lines(logger: WrappedLogger, name: str, event: EventDict) -> str:
    """The text form for journald, which stamps the time itself and takes every line for an entry of its own."""
    text = _TextLine(stamp=lambda _ts: "", colours=False)(logger, name, event)
    return "\n".join(f"<{PRIORITIES[event['level']]}>{line}" for line in text.split("\n"))


def _message(logger: WrappedLogger, name: str, event: EventDict) -> tuple[tuple[str], dict[str, object]]:
    """The arguments of logging's own call: the text form without what logging knows itself."""
    exc_info = event.pop("exc_info", None)
    fields = dict(_safe(logger, name, event))
    return (_event(fields.pop("event"), fields),), {"exc_info": exc_info}
