"""What systemd is told of a worker (`Type=notify`, `WatchdogSec`): that it is ready, and that it is not stuck.

The protocol of sd_notify(3): a datagram to the socket that NOTIFY_SOCKET names. Without that variable nothing is sent.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from outbox.worker.place import Place, now_and_then


def place() -> Place:
    """Of a worker that is its service's main process."""
    return Place(registered=ready, alive=now_and_then(lambda: notify("WATCHDOG=1"))) if _address() else Place()


def ready(worker_id: int) -> None:
    """It has started: what waits for the service goes on."""
    notify(f"READY=1\nSTATUS=Worker {worker_id} is running")


def notify(state: str) -> None:
    """Say it, if there is anybody to hear it."""
    address = _address()
    if address:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            to.setblocking(False)
            to.sendto(state.encode(), address)


def _address() -> str:
    named = os.environ.get("NOTIFY_SOCKET", "")
    return f"\0{named[1:]}" if named.startswith("@") else named
