"""A standby of a PostgreSQL server of our own: it follows by streaming, answers reads, and can be promoted."""

from __future__ import annotations

from tests.servers.postgres import PostgresServer, connected
from tests.servers.process import run


class StandbyServer(PostgresServer):
    """A hot standby, made by pg_basebackup."""

    def __init__(self, primary: PostgresServer) -> None:
        self._primary = primary
        super().__init__(hot_standby="on")

    def promote(self) -> None:
        """From here on it takes writes."""
        self.sql("SELECT pg_promote()")

    def _initialise(self) -> None:
        url = self._primary.url("postgres")
        self._password = str(url.password)
        source = f"host=127.0.0.1 port={url.port} user=postgres password={url.password}"
        command = [self._bin / "pg_basebackup", "-d", source, "-D", self._data, "-R", "-X", "stream", "-c", "fast"]
        run(command, cwd=self._folder)

    def sql(self, statement: str) -> None:
        """One statement in AUTOCOMMIT."""
        with connected(self.url("postgres"), "") as connection:
            connection.execute(statement.encode())


def make_primary() -> PostgresServer:
    """A server that waits at each commit until its standby has it, too; before there is one, sessions say `local`."""
    return PostgresServer(synchronous_standby_names="*")


def set_globally(server: PostgresServer, name: str, value: str) -> None:
    """A setting for all sessions from now on."""
    with connected(server.url("postgres"), "") as connection:
        connection.execute(f"ALTER SYSTEM SET {name} = {value}".encode())
        connection.execute(b"SELECT pg_reload_conf()")


def is_followed(server: PostgresServer) -> bool:
    """Whether a standby follows, synchronously."""
    with connected(server.url("postgres"), "") as connection:
        row = connection.execute(b"SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'").fetchone()
    return row == (1,)
