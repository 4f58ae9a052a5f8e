"""What each local relay does wrong on purpose: set by the buttons of the page, read by the relay before each reply."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path


class Fault(StrEnum):
    """What a relay does."""

    NONE = "none"
    DOWN = "down"
    QUOTA = "quota"
    GREYLIST = "greylist"
    SLOW = "slow"
    CUT = "cut"


BUTTONS = {  # fault → what the button says, what the relay does then
    Fault.NONE: ("Works", "It takes mail."),
    Fault.DOWN: ("Down", "It takes no connection."),
    Fault.QUOTA: ("Quota", "It refuses all mail: the quota of the account is used up."),
    Fault.GREYLIST: ("Greylist", "It defers mail from and to addresses that it has not seen together before."),
    Fault.SLOW: ("Slow", "It takes seconds for each reply."),
    Fault.CUT: ("Cut after the dot", "It keeps the message and closes the connection without a reply."),
}


class Faults:
    """A folder with one file for each relay."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, relay: str) -> Fault:
        """What this relay does now."""
        try:
            return Fault((self._folder / relay).read_text())
        except (FileNotFoundError, ValueError):
            return Fault.NONE

    def set(self, relay: str, fault: Fault) -> None:
        """Let this relay do that from now on."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = self._folder / f".{relay}.{os.getpid()}"
        unfinished.write_text(fault)
        unfinished.replace(self._folder / relay)
