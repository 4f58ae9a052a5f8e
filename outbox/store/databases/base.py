"""The questions that databases answer differently, with the ordinary answer to each.

Nothing here knows the outbox's tables: what is asked is SQL, locking, connections, and what a server is set to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.pool import Pool

from outbox.store.databases.drivers import driver_connection, is_autocommit
from outbox.store.databases.news import FileWatch, Listener
from outbox.store.databases.objects import JsonObjects
from outbox.store.databases.values import Given, Problem, Types


class Database(JsonObjects):
    """A kind of database. It has no state but what it remembers of engines."""

    names: tuple[str, ...] = ()
    """Of SQLAlchemy's dialects."""

    title = ""
    """As people write it."""

    # what it is able to do

    in_process = False
    """It has no server: a call is no round trip, nothing limits the number of connections, and none is lost."""

    one_writer = False
    """A transaction that writes locks out all others that do, so there are no locks of rows."""

    writes_in_queries = False
    """A query can hold inserts and updates (WITH): a claim, and what is recorded, is one statement and transaction."""

    hands_over_arrays = False
    """Many rows are handed over as one array for each column: see `insert_arrays`."""

    returns_new_rows = True
    """An insert that passes over what is there returns the new rows. Else a plain one is tried: see `is_duplicate`."""

    numbers_new_rows = False
    """The driver tells the id of the row that was inserted (`lastrowid`)."""

    locks_gaps = False
    """A locking read that finds nothing locks the gap where the row would be, against the inserts of others."""

    commits_ddl = False
    """Before a statement that changes the schema it commits the transaction."""

    alters_constraints = True
    """Else a table is created again, and its rows are copied."""

    lazy_commit = ""  # the statement after which the transaction's commit does not wait for the disk
    read_only_codes: frozenset[Any] = frozenset()
    """The errors with which it refuses to write at all: SQLSTATEs and numbers."""

    reads_only: tuple[str, str | None] = ("SET TRANSACTION READ ONLY", None)
    """What makes the transaction that begins one that can't write, and what ends that if the transaction does not."""

    # types of its own, where they are not SQLAlchemy's

    big_integer: sa.types.TypeEngine[int] | None = None  # 64 bits
    short_integer: sa.types.TypeEngine[int] | None = None  # 32, where a short key makes all indexes of a table smaller
    big_binary: sa.types.TypeEngine[bytes] | None = None  # up to 4 GiB
    digest: sa.types.TypeEngine[bytes] | None = None  # of an address, as 16 bytes in place of hexadecimal digits
    moment: sa.types.TypeEngine[datetime] = sa.DateTime(timezone=True)
    """A point in time with microseconds."""

    keeps_time_zones = False
    """A point in time is given to the driver with its time zone."""

    table_options: Mapping[str, Any] = {}
    """Of every table: those of SQLAlchemy's `Table`."""

    ids_once: Mapping[str, Any] = {}
    """Of a table that gives the id of a deleted row to no other."""

    partial_indexes = False
    """An index can leave rows out, by a condition."""

    false = "0"
    """False as a column's default, in the form in which the database gives it back."""

    clock = "db_now()"  # no database has it: mail in one that is not known here is refused
    """SQL in `now` that reads the clock."""

    def now(self, seconds: str) -> str:
        """SQL: the clock at the start of the statement, so that it bounds an index scan, plus `seconds` ("": none)."""
        return f"({self.clock} + {seconds})" if seconds else self.clock

    micros = "db_now()"  # SQL: the same clock as a whole number, microseconds since 1970

    def moment_text(self, moment: datetime) -> str:
        """A point in time as the text that the database takes for one in UTC."""
        return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")

    def reuses_ids(self, connection: Connection, table: sa.Table) -> bool:
        """Whether a table that asked for `ids_once` lacks it."""
        return False

    # locking

    def skip_locked(self, statement: sa.Select[Any], *, to_delete: bool = False) -> sa.Select[Any]:
        """Lock the rows that `statement` selects, passing over those that another transaction holds."""
        return statement.with_for_update(skip_locked=True)

    def lock(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        """Lock the rows that `statement` selects, to change them."""
        return statement.with_for_update()

    def keep(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        """See that the rows that `statement` selects stay until the transaction ends; others may do the same."""
        return statement.with_for_update(read=True)

    def latest(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        """`statement` such that it sees what was committed before it, also to rows that a locking read has seen."""
        return statement

    def alone(self, connection: Connection) -> AbstractContextManager[None]:
        """Within it no other process creates tables: each container of a deployment may do so as it starts."""
        return nullcontext()

    # inserts

    def insert_unless_there(self, table: sa.Table, unique: Sequence[str]) -> sa.Insert:
        """Insert into `table`, and do nothing where a row has the same values in `unique`."""
        raise NotImplementedError

    def is_duplicate(self, error: sa.exc.IntegrityError) -> bool:
        """Whether it refuses a second row with the same key."""
        return False

    def insert_arrays(self, table: sa.Table, types: Types, computed: Callable[[Given], Mapping[str, Any]]) -> Any:
        """Insert a row for each element of what `arrays` makes for the same `types`, in their order.

        `computed`: columns that come of what is given, or of nothing; the others are given by their names. To the
        insert that is returned, an `on_conflict_do_nothing` may be added.
        """
        raise NotImplementedError

    def arrays(self, types: Types, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The parameters for rows; what a row lacks is None, but for bytes."""
        raise NotImplementedError

    def longest_value(self, connection: Connection) -> int | None:
        """The longest value in bytes that can be written in one statement; None: whatever fits into memory."""
        return None

    def for_longer(self, size: int) -> str:
        """What to do so that a value of `size` bytes can be written."""
        return ""

    # claim and record

    def begins_with(self, first: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
        """Whether the first column of an index is `value`, for a range of the second; to be ordered by both."""
        return sa.and_(first == value)

    def is_behind(self, columns: Sequence[Any], place: Sequence[Any]) -> sa.ColumnElement[bool]:
        """Whether two columns, which an index begins with, come after a place in their order."""
        return sa.tuple_(*columns) > sa.tuple_(*place)

    def pairs(self, first: Any, second: Any, order: Any) -> sa.ColumnElement[Any]:
        """The pairs of all rows as one JSON array, in `order`. Where `writes_in_queries`."""
        raise NotImplementedError

    def rows_text(self, columns: Mapping[str, type], given: str = "rows") -> str:
        """SQL, a FROM item `i`: a row for each object of the JSON array bound as `given`. Not where `in_process`."""
        raise NotImplementedError

    def update_text(self, table: str, source: str | None, changes: Mapping[str, str], where: str) -> str:
        """SQL: an UPDATE of `table` as `d`, from `source` (see `rows_text`) if there is one."""
        assignments = ", ".join(f"{name} = {value}" for name, value in changes.items())
        origin = "" if source is None else f" FROM {source}"
        return f"UPDATE {table} AS d SET {assignments}{origin} WHERE {where}"  # noqa: S608 - no data in it

    # news of commits

    tells_commits = False
    """`told` makes the commit tell those who listen."""

    def told(self) -> list[sa.ColumnElement[Any]]:
        """What a query selects so that its transaction's commit tells of itself."""
        return []

    def can_listen(self, engine: Engine) -> bool:
        """Whether `listener` serves here."""
        return False

    def listener(self, connection: Connection) -> Listener:
        """One on a connection in autocommit mode. Raises SQLAlchemyError."""
        raise NotImplementedError

    def watch(self, engine: Engine) -> FileWatch | None:
        """What tells of commits without a listener; None: nothing, workers poll."""
        return None

    def connect_limits(self, driver: str, whole: int, connecting: int) -> dict[str, Any]:
        """What the driver is given for seconds that a call, and that connecting may take."""
        return {}

    def may_pool(self, source: Pool) -> bool:
        """Whether connections made as those of `source` may go from thread to thread."""
        return True

    def set_up(self, engine: Engine, *, isolated: bool, timeout: float) -> None:
        """Set up the connections of an engine of ours: READ COMMITTED, and whatever a worker needs.

        At SERIALIZABLE claims fail beside each other; with AUTOCOMMIT there are no transactions.

        `isolated`: the application's engine says an isolation level for each transaction, as an option.
        """
        engine.update_execution_options(isolation_level="READ COMMITTED")

    def is_replaced(self, info: Mapping[Any, Any]) -> bool:
        """Whether the connection with this `info` leads to another database than a new one would."""
        return False

    def is_direct(self, connection: Connection) -> bool:
        """Whether what is set for the session of a connection of ours stays there: no pooler stands between."""
        return True

    has_poolers = False
    """Poolers for it let several clients run in one process of the server: see `is_direct`."""

    def shares_process(self, one: Connection, other: Connection) -> bool:
        """Whether two of our connections are seen to run in one process of the server."""
        return False

    def steady_plans(self, connection: Connection, *, local: bool = False) -> None:
        """Have statements use the indexes that they were made for; `local`: in this transaction only."""

    def commits_at_once(self, connection: Connection) -> bool:
        """Whether no transaction is open on `connection` on which something was just written."""
        if is_autocommit(connection):
            return True
        driver = driver_connection(connection)
        autocommit = getattr(driver, "get_autocommit", None)  # PyMySQL, mysqlclient
        return bool(autocommit() if callable(autocommit) else getattr(driver, "autocommit", False))

    def begins_nothing(self, connection: Connection) -> bool:
        """Whether nothing that is written on this connection can be rolled back."""
        return self.commits_at_once(connection)

    def before_savepoint(self, connection: Connection, cursor: Any) -> None:
        """See that a SAVEPOINT, which is about to be executed, is in a transaction."""

    # which database it is, and what it is set to

    def place(self, url: sa.URL) -> tuple[Any, ...]:
        """What makes two addresses the same database, whatever the driver and the user."""
        host = (url.host or str(url.query.get("host", "")) or "localhost").lower().rstrip(".")
        host = "localhost" if host in {"127.0.0.1", "::1"} else host
        return (self._family(url), host, url.port or self.usual_port, url.database)

    usual_port: int | None = None

    def _family(self, url: sa.URL) -> str:
        return self.names[0] if self.names else url.get_backend_name()

    def file(self, url: sa.URL) -> str | None:
        """The path of the file that an address leads to; None: it leads to none."""
        return None

    def is_in_memory(self, url: sa.URL) -> bool:
        """Whether the database ends with its connection, or with the process."""
        return False

    identity: str | None = None
    """A query whose row says which database of which server this is; None: addresses say it all."""

    def certainly(self, same: bool | None, ours: sa.URL, theirs: sa.URL) -> bool | None:
        """Whether two addresses are one database, as far as that is certain. `same`: what their `identity` says."""
        return same

    def described(self, dialect: Dialect) -> str:
        """Name and version of the server that a dialect has met: "PostgreSQL 15.4"."""
        version = getattr(dialect, "server_version_info", None) or ()
        return f"{self.title or dialect.name} {'.'.join(str(part) for part in version[:3])}".strip()

    def server_problems(self, connection: Connection, max_message_bytes: int) -> Iterator[Problem]:
        """What a server is set to, as workers find it."""
        return iter(())

    def session_problems(self, connection: Connection) -> Iterator[Problem]:
        """What the application's own connections are set to, but for whether they can write."""
        return iter(())

    def is_read_only(self, connection: Connection) -> bool | None:
        """Whether nothing can be written on this connection; None: only trying can tell."""
        return None
