"""The data that a new database server begins with: made once for all processes of a run, and copied for each server."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.servers.process import own_folder, run

SHARED = "OUTBOX_TEST_FIRST_DATA"
"""The folder of the run, in the environment that its processes inherit; without it each server makes its own."""


def share() -> Path | None:
    """From here on, this process and its children share what they make. None: a parent shares already."""
    if SHARED in os.environ:
        return None
    folder = Path(tempfile.mkdtemp(prefix="outbox-first-data-"))
    folder.chmod(0o755)  # the servers' user copies from it
    os.environ[SHARED] = str(folder)
    return folder


def unshare(folder: Path) -> None:
    del os.environ[SHARED]
    shutil.rmtree(folder, ignore_errors=True)


def put(kind: str, make: Callable[[Path], None], folder: Path) -> None:
    """Fills `folder`, which belongs to the servers' user, as `make` does: a copy of what it made for the first one."""
    if SHARED not in os.environ:
        make(folder)
        return
    shared = Path(os.environ[SHARED])
    made = shared / kind
    with (shared / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            making = own_folder(f"{kind}-", shared)
            make(making)
            making.rename(made)
    run(["cp", "-a", f"{made}/.", folder], cwd=folder)
