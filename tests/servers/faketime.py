"""A wall clock that can be stepped under a real process, by libfaketime; the monotonic clock goes on as ever."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.servers.process import ServerUnavailable, own_folder

SHARED_MEMORY = Path("/dev/shm")
LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib")


class FakeClock:
    """The wall clock of every process that is started with its `environ`. Steps are seen within a second."""

    def __init__(self) -> None:
        """Raises ServerUnavailable where there is no libfaketime."""
        library = _library()
        self._folder = own_folder("outbox-clock-")
        self._file = self._folder / "clock"
        self.step(0)
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",  # seconds
            "DONT_FAKE_MONOTONIC": "1",  # this name or the next, as the version will have it
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, seconds: float) -> None:
        """From now on the clock is off by so much."""
        self._file.write_text(f"{seconds:+.0f}\n")
        self._file.chmod(0o644)

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
