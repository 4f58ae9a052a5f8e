"""A real MariaDB, from the `mariadbd` of this machine, or one named by a URL."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pymysql
from sqlalchemy.engine import URL, make_url

from tests.servers import first_data
from tests.servers.process import OwnServer, ServerProcess, ServerUnavailable, free_port, own_folder, run

DRIVER = "mariadb+pymysql"
USER = "outbox"


class MariaDBServer(OwnServer):
    """A server of our own, with MariaDB's default settings for isolation, SQL mode and durability.

    `fsync=False` makes it faster and survives `kill -9`, but not a loss of power.
    """

    def __init__(
        self,
        *,
        fsync: bool = True,
        folder: Path | None = None,
        environ: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """`folder`: where the data is kept, else a new one; `environ`: what the server finds in its environment."""
        self._options = [*options]
        self._daemon = _program("mariadbd", "mysqld")
        self._fsync = fsync
        self._folder = folder or own_folder("outbox-mariadb-")
        self._data = self._folder / "data"
        self._process = ServerProcess(self._folder, "mariadbd", environ)
        self._port = free_port()
        self._password = secrets.token_urlsafe(16)
        try:
            self._initialise()
            self.start_first()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Starts it on the same port and data, recovery included; nothing if it runs."""
        self._process.start(
            [
                *(self._daemon, "--no-defaults", f"--datadir={self._data}", f"--init-file={self._folder / 'init.sql'}"),
                *("--bind-address=127.0.0.1", f"--port={self._port}", "--socket=mariadb.sock"),
                *("--pid-file=mariadb.pid", "--skip-name-resolve", "--performance-schema=OFF"),
                *("--character-set-server=utf8mb4", "--innodb-buffer-pool-size=64M", "--max-connections=200"),
                f"--innodb-flush-log-at-trx-commit={1 if self._fsync else 2}",
                *self._options,
            ],
            self._accepts,
        )

    def stop(self) -> None:
        """A clean shutdown."""
        self._process.stop(signal.SIGTERM)

    def kill(self) -> None:
        """`kill -9`: no shutdown at all; the next start recovers from the log."""
        self._process.stop(signal.SIGKILL)

    def url(self, database: str) -> URL:
        # it offers no TLS, and the driver would make a context with all trusted certificates for each connection
        return _url(USER, self._password, "127.0.0.1", self._port, database).update_query_dict({"ssl_disabled": "true"})

    def create(self, database: str) -> None:
        self.sql(f"CREATE DATABASE `{database}`")

    def drop(self, database: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS `{database}`")

    def sql(self, statement: str) -> dict[str, object]:
        """One statement in autocommit; the first row of what it returns."""
        return _execute(self.url(""), statement)

    def _initialise(self) -> None:
        first_data.put("mariadb", _make_data, self._folder)
        init = self._folder / "init.sql"
        init.touch(mode=0o600)
        init.write_text(
            f"SET sql_log_bin = 0;\nCREATE OR REPLACE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{self._password}';\n"
            f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1' WITH GRANT OPTION;\n"
            "DROP USER IF EXISTS 'root'@'127.0.0.1';\nDROP USER IF EXISTS 'root'@'::1';\n"
        )
        if os.geteuid() == 0:
            shutil.chown(init, self._folder.owner())

    def _accepts(self) -> bool:
        try:
            _execute(self.url(""), "SELECT 1")
        except pymysql.OperationalError:
            return False
        return True


def _make_data(folder: Path) -> None:
    install = _program("mariadb-install-db", "mysql_install_db")
    run(
        [
            *(install, "--no-defaults", f"--datadir={folder / 'data'}", "--skip-test-db"),
            *("--auth-root-authentication-method=normal", "--skip-name-resolve"),
        ],
        cwd=folder,
    )


class ExternalMariaDB:
    """The server that OUTBOX_TEST_MARIADB_URL names; its user may create databases. It is not ours to stop."""

    controllable = False
    running = True

    def __init__(self, url: str) -> None:
        parts = make_url(url)
        self._parts = (parts.username or "root", parts.password or "", parts.host or "127.0.0.1", parts.port or 3306)
        _execute(self.url(""), "SELECT 1")

    def start(self) -> None:
        """Nothing: it runs."""

    def close(self) -> None:
        """Nothing: it is not ours."""

    def url(self, database: str) -> URL:
        return _url(*self._parts, database)

    def create(self, database: str) -> None:
        _execute(self.url(""), f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4")

    def drop(self, database: str) -> None:
        _execute(self.url(""), f"DROP DATABASE IF EXISTS `{database}`")


def _program(*names: str) -> str:
    """The first of these programs, also where Debian keeps daemons and a plain user's PATH does not lead."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    raise ServerUnavailable(
        f"no {names[0]} on this machine (Debian's package mariadb-server), and OUTBOX_TEST_MARIADB_URL is not set"
    )


def _url(user: str, password: str, host: str, port: int, database: str) -> URL:
    return URL.create(
        DRIVER, username=user, password=password, host=host, port=port, database=database, query={"charset": "utf8mb4"}
    )


def connected(url: URL, init_command: str | None = None) -> pymysql.Connection[Any]:
    """A connection of the plain driver that commits each statement."""
    return pymysql.connect(
        host=str(url.host),
        port=url.port or 3306,
        user=url.username,
        password=url.password or "",
        database=url.database or None,
        init_command=init_command,
        autocommit=True,
        ssl_disabled="ssl_disabled" in url.query,
    )


def _execute(url: URL, statement: str) -> dict[str, object]:
    connection = connected(url)
    try:
        cursor = connection.cursor(pymysql.cursors.DictCursor)
        cursor.execute(statement)
        return cursor.fetchone() or {}
    finally:
        connection.close()
