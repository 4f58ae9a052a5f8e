"""One socket to one address, within a time."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from outbox.core.readiness import ready

UNIX: int | None = getattr(socket, "AF_UNIX", None)
"""The family of Unix sockets, where the system has them."""

_UNDER_WAY = {errno.EINPROGRESS, errno.EWOULDBLOCK}  # the second is Windows'
_STAGGER = 0.25  # seconds, RFC 8305 §5
_SLICE = 0.1  # seconds after which a race looks whether it was given up


def connect(sock: socket.socket, address: Any, limit: float, source: str | None) -> None:
    """Connects within `limit` seconds, from the address `source` of this machine. Raises OSError."""
    if not _begin(sock, address, source):
        if not ready(limit, writing=(sock.fileno(),)):
            raise TimeoutError("timed out")
        _raise(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    _set_up(sock)


def race(
    addresses: list[Any],
    limit: float,
    source: str | None,
    monotonic: Callable[[], float],
    check: Callable[[], None],
) -> tuple[Any, socket.socket]:
    """The address that takes a connection first, and the connection (RFC 8305).

    The next one is begun when one has failed, or has not answered within a quarter of a second. That which took it
    and those that failed are taken out of `addresses`. Raises OSError, and what `check` raises, to end it.
    """
    end = monotonic() + limit
    left, pending = list(addresses), dict[int, tuple[Any, socket.socket]]()
    error: OSError = TimeoutError("timed out")
    next_at = monotonic()
    try:
        while (left or pending) and (now := monotonic()) < end:
            if left and (now >= next_at or not pending):
                one, next_at = left.pop(0), now + _STAGGER
                try:
                    sock = _begun(one, source)
                except OSError as failed:
                    addresses.remove(one)
                    error, next_at = failed, now
                    continue
                pending[sock.fileno()] = one, sock
            wait = min(end, next_at if left else end, now + _SLICE) - now
            for descriptor in ready(wait, writing=pending):
                one, sock = pending[descriptor]
                addresses.remove(one)
                try:
                    _raise(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
                    _set_up(sock)
                except OSError as failed:
                    pending.pop(descriptor)[1].close()
                    error, next_at = failed, now
                else:
                    return pending.pop(descriptor)
            check()
        raise error
    finally:
        for _, sock in pending.values():
            sock.close()


def _begun(one: Any, source: str | None) -> socket.socket:
    family, kind, proto, _, address = one
    sock = socket.socket(family, kind, proto)
    try:
        _begin(sock, address, source)
    except OSError:
        sock.close()
        raise
    return sock


def _begin(sock: socket.socket, address: Any, source: str | None) -> bool:
    """Begins to connect; whether it is done already."""
    sock.setblocking(False)
    if source is not None and sock.family != UNIX:
        sock.bind((source, 0))
    error = sock.connect_ex(address)
    if error in _UNDER_WAY:
        return False
    _raise(error)
    return True


def _raise(error: int) -> None:
    if error:
        raise OSError(error, os.strerror(error))


def _set_up(sock: socket.socket) -> None:
    if sock.family != UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
