"""A fresh database for each test, on whichever of the three systems the test asks for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine

from outbox.store.engines import worker_engine
from tests.servers.mariadb import ExternalMariaDB, MariaDBServer
from tests.servers.postgres import ExternalPostgres, PostgresServer
from tests.servers.process import ServerUnavailable
from tests.servers.reuse import catalog_print, emptied
from tests.servers.tables import create_tables

NAMES = ("sqlite", "postgresql", "mariadb")

Server = PostgresServer | ExternalPostgres | MariaDBServer | ExternalMariaDB


@dataclass
class Database:
    """One database of a test's own. `server` is None for SQLite; `controllable` ones can be stopped and killed."""

    name: str  # one of NAMES
    address: URL
    server: Server | None = None
    path: Path | None = field(default=None)  # SQLite's file

    @property
    def url(self) -> str:
        """As DATABASE_URL wants it, password included."""
        return self.address.render_as_string(hide_password=False)

    @cached_property
    def engine(self) -> Engine:
        """An engine as an application makes it: SQLAlchemy's defaults."""
        return sa.create_engine(self.address)

    @cached_property
    def worker_engine(self) -> Engine:
        """An engine as the daemon makes it."""
        return worker_engine(self.address)

    def dispose(self) -> None:
        """Closes what the engines hold open."""
        for engine in (self.__dict__.pop("engine", None), self.__dict__.pop("worker_engine", None)):
            if engine is not None:
                engine.dispose()


class Databases:
    """Makes databases; starts each server when the first test asks for it, stops them all in `close`."""

    def __init__(self, folder: Path, *servers: Server) -> None:
        """`servers`: to be used instead of those that would be started; they end with this."""
        self._folder = folder
        self._servers: dict[str, Server] = {
            "postgresql" if isinstance(server, PostgresServer | ExternalPostgres) else "mariadb": server
            for server in servers
        }
        self._templates: dict[str, str] = {}
        self._empty: dict[str, list[Database]] = {}  # with the tables, and used before
        self._prints: dict[str, str] = {}  # of the catalog as it was made, by the database's name
        self._unavailable: dict[str, str] = {}

    def server(self, name: str) -> Server:
        """The running server. Raises ServerUnavailable, each time, if it could not be started once."""
        if name in self._unavailable:
            raise ServerUnavailable(self._unavailable[name])
        if name not in self._servers:
            try:
                self._servers[name] = _start(name)
            except ServerUnavailable as reason:
                self._unavailable[name] = str(reason)
                raise
        server = self._servers[name]
        server.start()  # the test before may have left it stopped
        return server

    @contextmanager
    def empty(self, name: str) -> Iterator[Database]:
        """A database without tables."""
        with self._made(name, with_schema=False) as database:
            yield database

    @contextmanager
    def with_schema(self, name: str) -> Iterator[Database]:
        """A database with the outbox's tables, as `outbox.models` describes them; perhaps one that was used before."""
        with self._made(name, with_schema=True) as database:
            yield database

    def close(self) -> None:
        for unused in self._empty.values():
            for database in unused:
                if database.server is not None and not database.server.controllable:
                    database.server.drop(str(database.address.database))
        for name, template in self._templates.items():
            if name in self._servers and not self._servers[name].controllable:
                self._servers[name].drop(template)
        for server in self._servers.values():
            server.close()

    @contextmanager
    def _made(self, name: str, *, with_schema: bool) -> Iterator[Database]:
        make = {"sqlite": self._sqlite, "postgresql": self._postgresql, "mariadb": self._mariadb}[name]
        unused = self._empty.setdefault(name, [])
        if with_schema and unused:
            self.server(name)
            database = unused.pop()
        else:
            database = make(with_schema)
            if with_schema and database.server is not None:
                self._prints[str(database.address.database)] = catalog_print(database.address)
        try:
            yield database
        finally:
            database.dispose()
            if database.server is not None:
                database.server.start()
                before = self._prints.get(str(database.address.database))
                if before is not None and emptied(database.address, before):
                    unused.append(database)
                else:
                    database.server.drop(str(database.address.database))
            elif database.path is not None:
                shutil.rmtree(database.path.parent)

    def _sqlite(self, with_schema: bool) -> Database:
        folder = self._folder / _fresh_name()
        folder.mkdir()
        path = folder / "outbox.sqlite"
        if with_schema:
            shutil.copyfile(self._sqlite_template(), path)
        else:
            path.touch()
        return Database("sqlite", URL.create("sqlite", database=str(path)), path=path)

    def _sqlite_template(self) -> Path:
        if "sqlite" not in self._templates:
            path = self._folder / "template.sqlite"
            _create_tables(worker_engine(URL.create("sqlite", database=str(path))))
            self._templates["sqlite"] = str(path)
        return Path(self._templates["sqlite"])

    def _postgresql(self, with_schema: bool) -> Database:
        server = self.server("postgresql")
        assert isinstance(server, PostgresServer | ExternalPostgres)
        if with_schema and "postgresql" not in self._templates:
            template = _fresh_name()
            server.create(template)
            _create_tables(sa.create_engine(server.url(template)))
            self._templates["postgresql"] = template
        name = _fresh_name()
        server.create(name, self._templates["postgresql"] if with_schema else None)
        return Database("postgresql", server.url(name), server)

    def _mariadb(self, with_schema: bool) -> Database:
        server = self.server("mariadb")
        name = _fresh_name()
        server.create(name)
        if with_schema:
            _create_tables(sa.create_engine(server.url(name)))
        return Database("mariadb", server.url(name), server)


def _start(name: str) -> Server:
    if name == "postgresql":
        url = os.environ.get("OUTBOX_TEST_POSTGRES_URL")
        return ExternalPostgres(url) if url else PostgresServer(fsync=False)
    url = os.environ.get("OUTBOX_TEST_MARIADB_URL")
    return ExternalMariaDB(url) if url else MariaDBServer(fsync=False)


def _fresh_name() -> str:
    return f"outbox_test_{uuid4().hex[:12]}"


def _create_tables(engine: Engine) -> None:
    create_tables(engine)
    engine.dispose()
