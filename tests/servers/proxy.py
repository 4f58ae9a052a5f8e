"""A TCP proxy before a database that loses the answer to one COMMIT: the database has it, the client never hears."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

COMMIT = b"COMMIT"


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
