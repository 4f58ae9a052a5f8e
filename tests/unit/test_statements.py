"""What is known of an SQL statement to read only; everything else counts as a write."""

from __future__ import annotations

import pytest

from outbox.statements import only_reads

READS = [
    "SELECT 1",
    "select users.id, users.name from users where users.email = ? limit ? offset ?",
    "SELECT users.id, users.name FROM users WHERE lower(users.email) = lower(%(lower_1)s::VARCHAR)",
    "SELECT users.id FROM users WHERE users.id IN (%(id_1_1)s, %(id_1_2)s) ORDER BY users.name DESC",
    "SELECT count(*) AS count_1, max(orders.at) AS latest FROM orders GROUP BY orders.user_id HAVING count(*) > :n",
    "SELECT a.x FROM (SELECT b.x AS x FROM b WHERE NOT (EXISTS (SELECT 1 FROM c))) AS a JOIN d ON (a.x = d.x)",
    "WITH recent AS (SELECT orders.id AS id FROM orders) SELECT recent.id FROM recent",
    "(SELECT 1) UNION ALL (SELECT 2)",
    "SELECT CAST(t.x AS NUMERIC(10, 2)), coalesce(t.y, 'it''s') FROM t",
    'SELECT t.`update`, "for"."lock", t.update FROM t',
    "SELECT t.x FROM t /* traceparent='00-4bf9' */",
    "SELECT row_number() OVER (PARTITION BY t.x ORDER BY t.y) FROM t",
]

MORE = [
    "",
    "   ",
    "INSERT INTO t VALUES (1)",
    "UPDATE t SET x = 1",
    "DELETE FROM t",
    "SELECT t.x FROM t FOR UPDATE",
    "SELECT t.x FROM t FOR NO KEY UPDATE SKIP LOCKED",
    "SELECT t.x FROM t LOCK IN SHARE MODE",
    "SELECT t.x FROM t FOR SHARE",
    "SELECT * INTO u FROM t",
    "SELECT nextval('s')",
    "SELECT set_config('a.b', 'c', true)",
    "SELECT pg_advisory_xact_lock(1)",
    'SELECT "count"(1)',
    "SELECT shop.count(1)",
    "SELECT `count` (1)",
    "SELECT pay /* harmless */ (1)",
    "WITH gone AS (DELETE FROM t RETURNING t.x) SELECT gone.x FROM gone",
    "WITH t AS (SELECT 1) INSERT INTO u SELECT * FROM t",
    "SELECT @a := 1",
    "SELECT 1; DELETE FROM t",
    "SELECT 1 -- ' \n; DELETE FROM t --'",
    "SELECT 1 # ' \n; DELETE FROM t #'",
    "SELECT 'a\\' ; DELETE FROM t; -- '",
    "SELECT 1 /*! FOR UPDATE */",
    "SELECT 1 /*M! FOR UPDATE */",
    "SELECT $$ ; $$",
    "SET TRANSACTION READ ONLY",
    "SAVEPOINT sa_savepoint_1",
    "PRAGMA foreign_keys = OFF",
    "CALL pay(1)",
    "EXPLAIN ANALYZE DELETE FROM t",
    "VALUES (pay(1))",
    "TABLE t",
    "BEGIN",
]


@pytest.mark.parametrize("statement", READS)
def test_it_reads(statement: str) -> None:
    """A SELECT that calls nothing but the databases' own harmless functions, and takes no lock."""
    assert only_reads(statement)


@pytest.mark.parametrize("statement", MORE)
def test_it_may_write(statement: str) -> None:
    """Everything else, what only might be something else included."""
    assert not only_reads(statement)
