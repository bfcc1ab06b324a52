"""Puts back what Towline's logging changes in the whole process."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import structlog

from towline.admin import log


@contextlib.contextmanager
def logging_kept() -> Iterator[None]:
    """Whatever is configured in this block is undone at its end."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in (*log.CHATTY, *log.INDISCREET):
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
