"""A TCP proxy that holds back every byte, each way: a network with a long round trip.

    python -m benchmarks.proxy PORT MILLISECONDS

Connections to the port of 127.0.0.1 that it prints go to PORT; MILLISECONDS is the round trip, half of it each way. It
ends with its standard input. Known limits: timers of the event loop are late by up to a millisecond each way; a
connection is accepted without delay.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def delaying(port: int, milliseconds: float) -> Iterator[int]:
    """A proxy to `port` in a process of its own; gives the port to connect to."""
    command = [sys.executable, "-m", __name__, str(port), str(milliseconds)]
    root = Path(__file__).resolve().parents[1]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.communicate()


class Half(asyncio.Protocol):
    """One side of a connection: passes on what it receives to the other side, later, in order."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._waiting: deque[tuple[float, bytes]] = deque()  # b"" is the end
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.other: Half | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._later(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._later(b"")

    def _later(self, data: bytes) -> None:
        self._waiting.append((self._loop.time() + self._delay, data))
        if len(self._waiting) == 1:
            self._loop.call_at(self._waiting[0][0], self._pass_on)

    def _pass_on(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._loop.time():
            data = self._waiting.popleft()[1]
            if self.other is None or self.other.transport is None:
                continue
            if data:
                self.other.transport.write(data)
            else:
                self.other.transport.close()
        if self._waiting:
            self._loop.call_at(self._waiting[0][0], self._pass_on)


class Front(Half):
    """The side that a client connects to."""

    def __init__(self, delay: float, port: int) -> None:
        super().__init__(delay)
        self._port = port
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = self._loop.create_task(self._connect())  # SMTP: the server speaks first

    async def _connect(self) -> None:
        self.other = Half(self._delay)
        self.other.other = self
        await self._loop.create_connection(lambda: self.other, "127.0.0.1", self._port)


async def serve(port: int, milliseconds: float) -> None:
    """Until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Front(milliseconds / 2000, port), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
