"""Which sockets are ready, told to whoever waits for each: by edge on Linux, by asking anew each time elsewhere."""

from __future__ import annotations

import select
import selectors
import socket
from dataclasses import dataclass
from typing import Any, Protocol

from outbox.smtp.waiting import READ


class Ready(Protocol):
    """One waiter a socket. `None` stands for the descriptor that wakes."""

    def __init__(self, wakes: int) -> None: ...

    def begin(self, sock: socket.socket, event: int, waiter: Any) -> bool:
        """`waiter` waits for `sock`, on which an operation has just found nothing to do; True: it need not wait."""

    def end(self, sock: socket.socket) -> None:
        """Nobody waits for it any more."""

    def poll(self, timeout: float) -> list[Any]:
        """Whose sockets are ready, within `timeout` seconds."""

    def close(self) -> None: ...


class Asked:
    """What every system has."""

    def __init__(self, wakes: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(wakes, selectors.EVENT_READ)

    def begin(self, sock: socket.socket, event: int, waiter: Any) -> bool:
        wanted = selectors.EVENT_READ if event == READ else selectors.EVENT_WRITE
        self._selector.register(sock, wanted, waiter)
        return False

    def end(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)

    def poll(self, timeout: float) -> list[Any]:
        return [key.data for key, _ in self._selector.select(timeout)]

    def close(self) -> None:
        self._selector.close()


@dataclass(slots=True)
class _Watched:
    sock: socket.socket
    waiter: Any = None
    changed: bool = False  # since the last wait: what it waits for may be there


class Edges:
    """Registers each socket once; the kernel tells each change once. Saves two system calls a wait."""

    def __init__(self, wakes: int) -> None:
        self._epoll = select.epoll()
        self._epoll.register(wakes, select.EPOLLIN)
        self._wakes = wakes
        self._watched: dict[int, _Watched] = {}

    def begin(self, sock: socket.socket, event: int, waiter: Any) -> bool:
        fd = sock.fileno()
        watched = self._watched.get(fd)
        if watched is None or watched.sock is not sock:
            watched = self._watched[fd] = _Watched(sock)
            self._register(fd)
        if watched.changed:
            watched.changed = False
            return True
        watched.waiter = waiter
        return False

    def end(self, sock: socket.socket) -> None:
        if (watched := self._watched.get(sock.fileno())) is not None:
            watched.waiter = None

    def poll(self, timeout: float) -> list[Any]:
        found: list[Any] = []
        for fd, _ in self._epoll.poll(timeout):
            if fd == self._wakes:
                found.append(None)
            elif (watched := self._watched.get(fd)) is not None:
                if watched.waiter is None:
                    watched.changed = True
                else:
                    found.append(watched.waiter)
                    watched.waiter = None
        return found

    def close(self) -> None:
        self._epoll.close()

    def _register(self, fd: int) -> None:
        events = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
        try:
            self._epoll.register(fd, events)
        except FileExistsError:  # the same connection, now under TLS: this tells again what is there already
            self._epoll.modify(fd, events)


READY: type[Ready] = Edges if hasattr(select, "epoll") else Asked
