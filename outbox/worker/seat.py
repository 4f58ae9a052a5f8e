"""One of several processes on a machine: who holds the lock of a file; the system frees it when that process ends."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from outbox.core.errors import ConfigurationError


class Seat:
    """What one process of this machine and user can hold at a time."""

    def __init__(self, what: str) -> None:
        """`what`: names it; processes with the same name compete. Nothing is opened yet."""
        user = os.getuid() if hasattr(os, "getuid") else 0
        digest = hashlib.sha256(what.encode()).hexdigest()[:16]
        self.path = Path(tempfile.gettempdir()) / f"outbox-{user}-{digest}.lock"
        self._file: int | None = None

    def take(self) -> bool:
        """Whether it is ours now; once it is, it stays so until `leave` or the end of the process.

        Raises ConfigurationError where there are no such locks, or the file is somebody else's.
        """
        if self._file is not None:
            return True
        try:
            import fcntl
        except ImportError:
            raise ConfigurationError(
                ["OUTBOX_IN_PROCESS=host needs file locks of POSIX, which this system lacks. Set it to true."]
            ) from None
        file = self._opened()
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of the process: a forked child does not keep it
        except OSError:
            os.close(file)
            return False
        self._file = file
        return True

    def leave(self) -> None:
        """Let another process have it."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _opened(self) -> int:
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigurationError(
                [f"The lock file {self.path} can't be opened: {error.strerror}. Remove it, or set TMPDIR."]
            ) from None
        if os.fstat(file).st_uid != os.getuid():
            os.close(file)
            raise ConfigurationError([f"The lock file {self.path} belongs to another user. Remove it, or set TMPDIR."])
        return file
