"""A wall clock that can be stepped under a real process, by libfaketime; the monotonic clock goes on as usual."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.servers.process import ServerUnavailable, own_folder

SHARED_MEMORY = Path("/dev/shm")
LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib")


class FakeClock:
    """The wall clock of every process that is started with its `environ`."""

    def __init__(self) -> None:
        """Raises ServerUnavailable where there is no libfaketime."""
        library = _library()
        self._folder = own_folder("outbox-clock-")
        self._file = self._folder / "clock"
        self.step(0)
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",  # a machine's clock is stepped for all its processes at once
            "DONT_FAKE_MONOTONIC": "1",  # this name or the next, as the version will have it
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # else a wait for the interpreter's lock ends at once, again and again, at an uptime of some hours
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }

    def step(self, seconds: float) -> None:
        """From now on the clock is off by so much."""
        written = self._file.with_suffix(".new")
        written.write_text(f"{seconds:+.0f}\n")
        written.chmod(0o644)
        written.replace(self._file)  # no process reads half of it

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        for left in SHARED_MEMORY.glob(
            "*faketime_s*_*"
        ):  # of killed processes: in the way of the next with that number
            if not Path("/proc", left.name.rpartition("_")[2]).exists():
                left.unlink(missing_ok=True)


def _library() -> Path:
    for folder in LIBRARIES:
        for pattern in ("*/faketime/libfaketimeMT.so.1", "faketime/libfaketimeMT.so.1"):
            for found in sorted(Path(folder).glob(pattern)):
                return found
    raise ServerUnavailable("no libfaketime on this machine (Debian's package faketime)")
