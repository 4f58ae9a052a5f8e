"""Databases that one test after another uses: emptied in a hundredth of the time that it takes to make a new one.

Only where a test has changed nothing but rows: what else it may have changed is compared with a print of the catalog.
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any

import psycopg
import pymysql
from sqlalchemy.engine import URL

from outbox.models import Base
from tests.servers.mariadb import connected as mariadb_connected
from tests.servers.postgres import connected
from tests.servers.process import polled

TABLES = [table.name for table in Base.metadata.sorted_tables]
LOCK_SECONDS = 5
_NEXT_NUMBER = re.compile(r" AUTO_INCREMENT=\d+")


def catalog_print(url: URL) -> str:
    """Equal as long as only rows have changed."""
    if url.get_backend_name() == "postgresql":
        with _postgresql(url) as connection:
            return _postgresql_print(connection)
    with closing(_mariadb(url)) as connection:
        return _mariadb_print(connection)[0]


def emptied(url: URL, before: str) -> bool:
    """Ends the connections of others and removes all rows. False: the database is to be dropped instead."""
    try:
        if url.get_backend_name() == "postgresql":
            with _postgresql(url) as connection:
                return _postgresql_emptied(connection, before)
        with closing(_mariadb(url)) as connection:
            return _mariadb_emptied(connection, before)
    except (psycopg.Error, pymysql.Error, OSError):  # TimeoutError is one of these
        return False


# What every change of a table, a function or a setting leaves its trace in; TRUNCATE writes nothing but pg_class.
_TRACES = """
SELECT coalesce(string_agg(trace, ';' ORDER BY trace), '') FROM (
    SELECT concat_ws(',', 'class', oid, relname, relkind, reloptions, relpersistence, relacl) AS trace
        FROM pg_class WHERE oid >= 16384 AND relnamespace <> 'pg_toast'::regnamespace
    UNION ALL SELECT concat_ws(',', 'attribute', attrelid, attnum, xmin) FROM pg_attribute WHERE attrelid >= 16384
    UNION ALL SELECT concat_ws(',', 'default', oid, xmin) FROM pg_attrdef
    UNION ALL SELECT concat_ws(',', 'constraint', oid, xmin) FROM pg_constraint WHERE oid >= 16384
    UNION ALL SELECT concat_ws(',', 'trigger', oid, xmin) FROM pg_trigger
    UNION ALL SELECT concat_ws(',', 'function', oid, xmin) FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT concat_ws(',', 'rule', oid, xmin) FROM pg_rewrite WHERE oid >= 16384
    UNION ALL SELECT concat_ws(',', 'namespace', oid, xmin) FROM pg_namespace WHERE oid >= 16384 OR nspname = 'public'
    UNION ALL SELECT concat_ws(',', 'statistics', oid, xmin) FROM pg_statistic_ext
    UNION ALL SELECT concat_ws(',', 'event trigger', oid, xmin) FROM pg_event_trigger
    UNION ALL SELECT concat_ws(',', 'prepared', gid) FROM pg_prepared_xacts WHERE database = current_database()
    UNION ALL SELECT concat_ws(',', 'setting', setrole, setting.xmin) FROM pg_db_role_setting AS setting
        JOIN pg_database ON pg_database.oid = setdatabase WHERE datname = current_database()
    UNION ALL SELECT concat_ws(',', 'database', datallowconn, datconnlimit, datacl) FROM pg_database
        WHERE datname = current_database()
) traces
"""
# A table has pages since its first row, also a rolled-back one; a sequence may have given a number without a row.
_USED = """
SELECT oid::regclass::text FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 0
UNION SELECT refobjid::regclass::text FROM pg_depend JOIN pg_sequence ON seqrelid = objid
    WHERE classid = 'pg_class'::regclass AND deptype IN ('a', 'i') AND pg_sequence_last_value(seqrelid) IS NOT NULL
"""
_OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def _postgresql(url: URL) -> psycopg.Connection[Any]:
    return connected(url, f"-c lock_timeout={LOCK_SECONDS}s -c statement_timeout={4 * LOCK_SECONDS}s")


def _postgresql_print(connection: psycopg.Connection[Any]) -> str:
    found = connection.execute(_TRACES).fetchone()
    assert found is not None
    return str(found[0])


def _postgresql_emptied(connection: psycopg.Connection[Any], before: str) -> bool:
    connection.execute(f"SELECT pg_terminate_backend(pid) {_OTHERS}".encode())
    with polled("the other connections end", LOCK_SECONDS) as wait_a_little:
        while connection.execute(f"SELECT 1 {_OTHERS} LIMIT 1".encode()).fetchone():
            wait_a_little()
    if _postgresql_print(connection) != before:
        return False
    used = [name for (name,) in connection.execute(_USED).fetchall()]
    if used:  # else each table and index gets a new file
        connection.execute(f"TRUNCATE {', '.join(used)} RESTART IDENTITY CASCADE".encode())
    connection.execute("DELETE FROM pg_statistic WHERE starelid >= 16384")
    connection.execute("SELECT pg_stat_reset()")
    return True


def _mariadb(url: URL) -> pymysql.Connection[Any]:
    return mariadb_connected(url, f"SET lock_wait_timeout = {LOCK_SECONDS}, foreign_key_checks = 0")


def _mariadb_print(connection: pymysql.Connection[Any]) -> tuple[str, set[str]]:
    """And the tables that have given a number, perhaps to a row that was rolled back."""
    found: list[Any] = []
    used = set()
    with connection.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        names = sorted(row[0] for row in cursor.fetchall())
        for name in names:
            cursor.execute(f"SHOW CREATE TABLE `{name}`")
            table = str(cursor.fetchall()[0][1])
            found.append(_NEXT_NUMBER.sub("", table))
            if table != found[-1]:
                used.add(name)
        for what in ("TRIGGERS", "EVENTS"):
            cursor.execute(f"SHOW {what}")
            found += cursor.fetchall()
        cursor.execute("SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema = DATABASE()")
        found += cursor.fetchall()
        cursor.execute("SHOW CREATE DATABASE `" + str(connection.db.decode()) + "`")
        found += cursor.fetchall()
    return repr(found), used


def _mariadb_emptied(connection: pymysql.Connection[Any], before: str) -> bool:
    others = (
        "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        " AND command <> 'Killed'"
    )
    with connection.cursor() as cursor, polled("the other connections end", LOCK_SECONDS) as wait_a_little:
        while cursor.execute(others):
            for (number,) in cursor.fetchall():
                try:
                    cursor.execute(f"KILL {number}")
                except pymysql.OperationalError:
                    continue  # it has ended by itself
            wait_a_little()
    now, used = _mariadb_print(connection)
    if now != before:
        return False
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f"(SELECT '{name}' FROM `{name}` LIMIT 1)" for name in TABLES))
        for name in used | {name for (name,) in cursor.fetchall()}:  # else each table gets a new file
            cursor.execute(f"TRUNCATE `{name}`")
    return True
