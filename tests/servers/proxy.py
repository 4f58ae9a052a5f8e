"""TCP proxies before a database: one loses the answer to a COMMIT, one lets connections hang."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

COMMIT = b"COMMIT"


class Freezer:
    """Forwards from a free port to a server; frozen connections stay up, and nothing passes any more."""

    def __init__(self, target: tuple[str, int], address: str = "127.0.0.1") -> None:
        """`address`: where it listens."""
        self._target = target
        self._listener = socket.create_server((address, 0))
        self.port: int = self._listener.getsockname()[1]
        self._thawed = threading.Event()
        self._thawed.set()
        self._over = threading.Event()
        self._old: list[threading.Event] = []  # of each connection: set, it is frozen
        self._sockets: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._forwarding: list[threading.Thread] = []

    def freeze(self, *, new: bool) -> None:
        """All connections there are, for ever; with `new` those to come as well, until `thaw`."""
        if new:
            self._thawed.clear()
        for frozen in self._old:
            frozen.set()

    def turn_to(self, target: tuple[str, int]) -> None:
        """Lead new connections there, as a name or a proxy does at a switch-over; the old ones stay where they are."""
        self._target = target

    def thaw(self) -> None:
        """New connections work again."""
        self._thawed.set()

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._forwarding:
            thread.join()
        for sock in self._sockets:
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                frozen = threading.Event()
                if not self._thawed.is_set():
                    frozen.set()
                self._old.append(frozen)
                database = socket.create_connection(self._target)
                self._sockets += [client, database]
                for pair in ((client, database), (database, client)):
                    thread = threading.Thread(target=self._forward, args=(*pair, frozen), daemon=True)
                    self._forwarding.append(thread)
                    thread.start()

    def _forward(self, source: socket.socket, sink: socket.socket, frozen: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if frozen.is_set():
                    self._over.wait()
                sink.sendall(data)
        if not frozen.is_set():
            for sock in (source, sink):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


class CommitCutter:
    """Forwards from a free port of 127.0.0.1 to another; once armed, it cuts the connection that commits next."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._armed = threading.Event()
        self.cut = threading.Event()
        """Set once it has: the database has answered by then."""

    def arm(self) -> None:
        self._armed.set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                database = socket.create_connection(self._target)
                committed = threading.Event()
                for arguments in ((client, database, committed), (database, client, committed)):
                    forward = self._questions if arguments[0] is client else self._answers
                    threading.Thread(target=forward, args=arguments, daemon=True).start()

    def _questions(self, client: socket.socket, database: socket.socket, committed: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                if COMMIT in data.upper() and self._armed.is_set():
                    committed.set()
                    self._armed.clear()
                database.sendall(data)
        _end(client, database)

    def _answers(self, database: socket.socket, client: socket.socket, committed: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := database.recv(65_536):
                if committed.is_set():
                    self.cut.set()
                    break
                client.sendall(data)
        _end(client, database)


def _end(*both: socket.socket) -> None:
    for one in both:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
