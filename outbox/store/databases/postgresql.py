"""PostgreSQL: one round trip for a claim, an enqueue, a record; LISTEN; poolers.

A pooler may stand between, and what is set for a session there leaks to that of somebody else. Such a one greets its
clients with process numbers of its own making; so a connection is direct if the server names the same number as the
greeting did. On all others everything is set at the start of each transaction and for it alone, LISTEN is not used,
and nothing is prepared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import ConnectionPoolEntry

from outbox.core.clock import UNREADABLE
from outbox.store.databases import arrays
from outbox.store.databases.base import Database
from outbox.store.databases.drivers import shown
from outbox.store.databases.news import CHANNEL, Listener
from outbox.store.databases.values import IDLE_TRANSACTION_SECONDS, Given, Problem, Types

_DIRECT = "outbox_direct"
_LOCK = 0x6F7574626F78  # "outbox"
_POOLER_LOOKS = 5

# each value an SQL expression
_ALWAYS = {
    "idle_in_transaction_session_timeout": f"'{IDLE_TRANSACTION_SECONDS}s'",
    # a house may have it off: then a crash of the server takes back what was recorded, and the mail is sent again
    "synchronous_commit": "replace(current_setting('synchronous_commit'), 'off', 'on')",
}
_QUICK_PLANS = {
    # the statistics of a queue are always wrong: it was empty when they were taken, or full
    **{f"enable_{kind}": "'off'" for kind in ("seqscan", "bitmapscan", "hashjoin", "mergejoin")},
    "plan_cache_mode": "'force_generic_plan'",  # planning a claim takes longer than it
    "jit": "'off'",  # and compiling it longer still
}
_JSON_TYPES = {int: "bigint", float: "double precision", str: "text", datetime: "timestamptz"}


class PostgreSQL(Database):
    """Also behind PgBouncer."""

    names = ("postgresql",)
    title = "PostgreSQL"
    usual_port = 5432

    writes_in_queries = True
    hands_over_arrays = True
    keeps_time_zones = True
    partial_indexes = True
    tells_commits = True
    has_poolers = True
    lazy_commit = "SET LOCAL synchronous_commit = off"
    read_only_codes = frozenset({"25006"})
    false = "false"

    clock = "statement_timestamp()"
    """`clock_timestamp()` can't bound an index scan."""

    micros = "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000000 AS BIGINT)"

    def now(self, seconds: str) -> str:
        return f"({self.clock} + make_interval(secs => {seconds}))" if seconds else self.clock

    def moment_text(self, moment: datetime) -> str:
        return super().moment_text(moment) + "+00"

    def skip_locked(self, statement: sa.Select[Any], *, to_delete: bool = False) -> sa.Select[Any]:
        """Without standing in the way of rows that refer to these, unless they are to go."""
        return statement.with_for_update(skip_locked=True, key_share=not to_delete)

    def lock(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        return statement.with_for_update(key_share=True)

    def keep(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        return statement.with_for_update(read=True, key_share=True)

    @contextmanager
    def alone(self, connection: Connection) -> Iterator[None]:
        """Until the transaction ends."""
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        yield

    def insert_unless_there(self, table: sa.Table, unique: Sequence[str]) -> sa.Insert:
        return postgresql.insert(table).on_conflict_do_nothing(index_elements=list(unique))

    def insert_arrays(self, table: sa.Table, types: Types, computed: Callable[[Given], Mapping[str, Any]]) -> Any:
        return arrays.insert_from_arrays(table, types, computed)

    def arrays(self, types: Types, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return arrays.arrays(types, rows)

    def with_entry(self, column: sa.ColumnElement[Any], key: sa.ColumnElement[str], *values: Any) -> Any:
        value = sa.func.jsonb_build_array(*values, type_=postgresql.JSONB())
        path = sa.func.string_to_array(key, " ")
        return sa.cast(sa.func.jsonb_set(sa.cast(column, postgresql.JSONB()), path, value), sa.JSON())

    def entry(self, key: str) -> str:
        return key

    def pairs(self, first: Any, second: Any, order: Any) -> sa.ColumnElement[Any]:
        ordered = postgresql.aggregate_order_by(sa.func.json_build_array(first, second), order)
        return sa.func.json_agg(ordered, type_=sa.JSON())

    def rows_text(self, columns: Mapping[str, type], given: str = "rows") -> str:
        typed = ", ".join(f"{name} {_JSON_TYPES[kind]}" for name, kind in columns.items())
        return f"json_to_recordset(CAST(:{given} AS json)) AS i({typed})"

    def told(self) -> list[sa.ColumnElement[Any]]:
        """At the commit, and not if it is rolled back."""
        return [sa.func.pg_notify(CHANNEL, "")]

    def can_listen(self, engine: Engine) -> bool:
        return engine.driver == "psycopg"

    def listener(self, connection: Connection) -> Listener:
        return _Listener(connection)

    def connect_limits(self, driver: str, whole: int, connecting: int) -> dict[str, Any]:
        return {"connect_timeout": connecting} if driver in {"psycopg", "psycopg2"} else {}

    def set_up(self, engine: Engine, *, isolated: bool, timeout: float) -> None:
        """Once for each connection that is direct, else for each transaction."""
        super().set_up(engine, isolated=isolated, timeout=timeout)

        @event.listens_for(engine, "connect")
        def connected(connection: Any, record: ConnectionPoolEntry) -> None:
            _read_any_moment(connection)
            cursor = connection.cursor()
            cursor.execute("SELECT pg_backend_pid()")
            direct = record.info[_DIRECT] = cursor.fetchone()[0] == _greeted_by(connection)
            if direct:
                cursor.execute(_set(_ALWAYS, local=False))
            elif hasattr(connection, "prepare_threshold"):
                connection.prepare_threshold = None  # what one server process has prepared, the next does not know
            cursor.close()
            connection.commit()

        @event.listens_for(engine, "begin")
        def begun(connection: Connection) -> None:
            if not self.is_direct(connection):
                connection.exec_driver_sql(_set(_ALWAYS, local=True))

    def is_direct(self, connection: Connection) -> bool:
        return bool(connection.info.get(_DIRECT, True))

    def shares_process(self, one: Connection, other: Connection) -> bool:
        for _ in range(_POOLER_LOOKS):
            seen = []
            for connection in (one, other):
                seen.append(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
                connection.rollback()
            if seen[0] == seen[1]:
                return True
        return False

    def steady_plans(self, connection: Connection, *, local: bool = False) -> None:
        connection.exec_driver_sql(_set(_QUICK_PLANS, local=local))

    # the process's start and the table's number: two servers have the same of both by no accident
    identity = "SELECT pg_postmaster_start_time(), current_database(), to_regclass('outbox_message')::oid"

    def server_problems(self, connection: Connection, max_message_bytes: int) -> Iterator[Problem]:
        level = shown(connection, "SHOW transaction_isolation")
        fsync = shown(connection, "SHOW fsync")
        read_only = self.is_read_only(connection)
        if level not in {"read committed", "read uncommitted"}:
            yield Problem(
                False,
                f"workers are at the isolation level {level}: their claims fail beside each other",
                "Let workers use READ COMMITTED: set OUTBOX_DATABASE_URL without an isolation level.",
            )
        if read_only:
            yield Problem(
                False,
                "the database is read-only (a standby, or default_transaction_read_only)",
                "Give workers the address of the primary server in OUTBOX_DATABASE_URL.",
            )
        if fsync == "off":
            yield Problem(None, "fsync is off: a crash of the machine can lose the whole database", "Set fsync=on.")

    def session_problems(self, connection: Connection) -> Iterator[Problem]:
        if shown(connection, "SHOW synchronous_commit") == "off":
            yield Problem(
                None,
                "synchronous_commit is off: a crash of the server can lose mail that the application has committed",
                "Set synchronous_commit=on for the application's user. (Workers set it for themselves.)",
            )

    def is_read_only(self, connection: Connection) -> bool | None:
        return shown(connection, "SHOW transaction_read_only") == "on"


class _Listener:
    """LISTEN, with psycopg, so that nothing stands between the news and the claim."""

    def __init__(self, connection: Connection) -> None:
        driver: Any = connection.connection.dbapi_connection
        self._driver = driver
        self._heard = False
        connection.exec_driver_sql(f"LISTEN {CHANNEL}")
        self._driver.add_notify_handler(self._note)  # what comes along with the result of a statement

    def fileno(self) -> int:
        return int(self._driver.fileno())

    def heard(self) -> bool:
        self._driver.pgconn.consume_input()
        while self._driver.pgconn.notifies() is not None:
            self._heard = True
        heard, self._heard = self._heard, False
        return heard

    def _note(self, _: object) -> None:
        self._heard = True


def _read_any_moment(connection: Any) -> None:
    """`infinity`, or the year 20000: psycopg raises, and one row edited by hand would end a list of many."""
    adapters = getattr(connection, "adapters", None)
    if adapters is None:
        return
    from psycopg.pq import Format

    for form in (Format.TEXT, Format.BINARY):
        usual = adapters.get_loader(adapters.types["timestamptz"].oid, form)
        adapters.register_loader("timestamptz", _careful(usual, form))


@lru_cache
def _careful(usual: Any, form: Any) -> Any:
    """A loader of psycopg's that gives UNREADABLE where `usual`, which may be compiled and final, raises."""
    from psycopg import DataError
    from psycopg.adapt import Loader

    class Careful(Loader):
        format = form

        def __init__(self, oid: int, context: Any = None) -> None:
            super().__init__(oid, context)
            self._usual = usual(oid, context)

        def load(self, data: Any) -> datetime:
            try:
                found: datetime = self._usual.load(data)
            except DataError:
                return UNREADABLE
            return found

    return Careful


def _greeted_by(connection: Any) -> int | None:
    """The number of the server process as the greeting told it; None: the driver does not say."""
    info = getattr(connection, "info", None)  # psycopg, psycopg2
    return getattr(info, "backend_pid", None)


def _set(settings: Mapping[str, str], *, local: bool) -> str:
    scope = "true" if local else "false"
    return "SELECT " + ", ".join(f"set_config('{name}', {value}, {scope})" for name, value in settings.items())
