"""A real PgBouncer in front of a PostgreSQL server."""

from __future__ import annotations

import shutil
import signal
from types import TracebackType
from typing import Self

import psycopg
from sqlalchemy.engine import URL

from tests.servers.process import ServerProcess, ServerUnavailable, free_port, own_folder


class PgBouncer:
    """Passes on to the server of `address`; `mode`: "session" or "transaction". Raises ServerUnavailable."""

    def __init__(self, address: URL, mode: str, **settings: str) -> None:
        found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        if found is None:
            raise ServerUnavailable("there is no pgbouncer (package pgbouncer)")
        self._program = found
        self._port = free_port()
        self.address = address.set(port=self._port)
        self._folder = own_folder("outbox-pgbouncer-")
        server = f"host={address.host} port={address.port} user={address.username} password={address.password}"
        lines = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self._port),
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": mode,
            "ignore_startup_parameters": "extra_float_digits",
            **settings,
        }
        words = [f"{name} = {value}" for name, value in lines.items()]
        (self._folder / "pgbouncer.ini").write_text("\n".join(["[databases]", f"* = {server}", "[pgbouncer]", *words]))
        self._process = ServerProcess(self._folder, "pgbouncer")

    def __enter__(self) -> Self:
        self._process.start([self._program, self._folder / "pgbouncer.ini"], self._accepts)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stop(signal.SIGTERM)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accepts(self) -> bool:
        try:
            psycopg.connect(self.address.set(drivername="postgresql").render_as_string(hide_password=False)).close()
        except psycopg.OperationalError:
            return False
        return True
