"""How a connection waits: by default its thread does; under a hub (`outbox.worker.hub`) others go on meanwhile."""

from __future__ import annotations

import select
import socket
import threading
from typing import Protocol

READ = select.POLLIN
WRITE = select.POLLOUT


class Waiting(Protocol):
    """The two waits of a connection."""

    def socket(self, sock: socket.socket, event: int, timeout: float) -> bool:
        """Until `sock` is ready for READ or WRITE, or broken; False after `timeout` seconds without."""

    def event(self, event: threading.Event, timeout: float) -> bool:
        """Until `event` is set, as `threading.Event.wait`."""


class Blocking:
    """Stops the calling thread."""

    def socket(self, sock: socket.socket, event: int, timeout: float) -> bool:
        poll = select.poll()
        poll.register(sock, event)
        return bool(poll.poll(max(0.0, timeout) * 1000))

    def event(self, event: threading.Event, timeout: float) -> bool:
        return event.wait(timeout)
