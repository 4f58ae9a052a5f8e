"""One socket to one address, within a time."""

from __future__ import annotations

import errno
import os
import select
import socket
from typing import Any


def connect(sock: socket.socket, address: Any, limit: float, source: str | None) -> None:
    """Connects within `limit` seconds, from the address `source` of this machine. Raises OSError."""
    sock.setblocking(False)
    if source is not None and sock.family != socket.AF_UNIX:
        sock.bind((source, 0))
    error = sock.connect_ex(address)
    if error == errno.EINPROGRESS:
        if not is_ready(sock, select.POLLOUT, limit):
            raise TimeoutError("timed out")
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def is_ready(sock: socket.socket, event: int, timeout: float) -> bool:
    """Waits until `sock` is ready for `event`, or broken; False after `timeout` seconds without."""
    poll = select.poll()
    poll.register(sock, event)
    return bool(poll.poll(max(0.0, timeout) * 1000))
