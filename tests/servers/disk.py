"""A small disk of its own for a server's data, that can be filled to the last byte and made room on again."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess

from tests.servers.process import ServerUnavailable, own_folder


class SmallDisk:
    """A tmpfs of `megabytes`; its `folder` belongs to the servers' user."""

    def __init__(self, megabytes: int) -> None:
        """Raises ServerUnavailable where this process may not mount one."""
        if shutil.which("mount") is None or os.geteuid() != 0:
            raise ServerUnavailable("a disk of its own needs the right to mount: run as root")
        self._mount = own_folder("outbox-disk-")
        options = f"size={megabytes}m,mode=0711"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self._mount)], capture_output=True, text=True
        )
        if done.returncode:
            self._mount.rmdir()
            raise ServerUnavailable(f"a disk of its own can't be mounted here: {done.stderr.strip()}")
        self.folder = own_folder("server-", self._mount)
        self._ballast = self._mount / "ballast"

    def fill(self) -> None:
        """Leaves no byte free."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (2**20, 2**12):
                try:
                    while True:
                        ballast.write(b"\0" * size)
                except OSError as full:
                    if full.errno != errno.ENOSPC:
                        raise

    def make_room(self) -> None:
        """Gives back what `fill` took."""
        self._ballast.unlink()

    @property
    def free(self) -> int:
        """Bytes."""
        return shutil.disk_usage(self._mount).free

    def close(self) -> None:
        """Ends it; whoever still has a file open there keeps that alone."""
        subprocess.run(["umount", "--lazy", str(self._mount)], check=True)
        with contextlib.suppress(OSError):
            os.rmdir(self._mount)
