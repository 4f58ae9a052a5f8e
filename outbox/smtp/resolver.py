"""Looking up a relay's name without being held up by it.

Known limit: `getaddrinfo` cannot be interrupted, so a look-up that takes too long is left behind in its thread until
the resolver gives up by itself (one at most per connection).
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import Any

_SLICE = 0.1  # seconds after which a wait for the resolver looks whether it was given up


class Resolver:
    """Looks names up in a thread, since nothing can interrupt `getaddrinfo`; one look-up at a time."""

    def __init__(self) -> None:
        self._pending: _Lookup | None = None

    def resolve(
        self,
        host: str,
        port: int,
        end: float,
        monotonic: Callable[[], float],
        check: Callable[[], None],
    ) -> list[Any] | Exception | None:
        """The addresses, or the error; None if there is none by `end`. `check` may raise to end the wait."""
        bare = host.strip("[]")
        if _is_address(bare):
            try:
                return socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            except OSError as error:  # a scope that this machine does not have
                return error
        if self._pending is None or self._pending.key != (host, port):
            self._pending = _Lookup(host, port)
        pending = self._pending
        while not pending.done.wait(max(0.0, min(_SLICE, end - monotonic()))):
            check()
            if monotonic() >= end:
                return None
        self._pending = None
        return pending.answer


class _Lookup:
    def __init__(self, host: str, port: int) -> None:
        self.key = (host, port)
        self.answer: list[Any] | Exception = []
        self.done = threading.Event()
        threading.Thread(target=self._run, name=f"resolve {host}", daemon=True).start()

    def _run(self) -> None:
        try:
            self.answer = socket.getaddrinfo(*self.key, type=socket.SOCK_STREAM)
        except (OSError, ValueError) as error:  # UnicodeError: a label that is empty or too long; ValueError: a NUL
            self.answer = error
        self.done.set()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
