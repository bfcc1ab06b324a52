"""Where what outlives the process is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import platformdirs
import structlog

log = structlog.get_logger("towline")


def state_folder(setting: Path | Literal["auto"] | None, environ: Mapping[str, str]) -> Path | None:
    """The folder that `state` means, which may not exist yet; None for none.

    `auto` is systemd's StateDirectory=, else the user's folder for such things (XDG_STATE_HOME, ~/.local/state).
    """
    if setting != "auto":
        return setting
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]  # several are separated so: systemd.exec(5)
    folder = Path(given) if given else platformdirs.user_state_path("towline", appauthor=False)
    if not folder.is_absolute():  # `~` stays what it is for a user without a home
        log.info("nothing_is_remembered", why="this user has no home", hint="`state` names a folder")
        return None
    return folder
