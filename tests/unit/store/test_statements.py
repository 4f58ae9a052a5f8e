"""What is known of an SQL statement to read only; everything else counts as a write."""

from __future__ import annotations

import pytest

from outbox.store.statements import beyond_reading

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
    "SELECT show.id, release.name, call.set FROM show, release JOIN load ON load.id = show.id, share AS call",
    "SELECT start, begin, copy FROM show ORDER BY random() LIMIT 1",
    "SELECT replace(t.x, %(a)s, %(b)s) AS replace_1 FROM t",
    'WITH RECURSIVE tree(id, up) AS (SELECT 1 UNION ALL SELECT 2 FROM t JOIN tree), "B"(x) AS (SELECT 1) SELECT 1',
    "SELECT a.x FROM (WITH c(x) AS (SELECT 1) SELECT c.x FROM c) AS a",
    "SELECT t.x FROM t WHERE t.tags @> %(a)s AND t.tags <@ %(b)s AND to_tsvector(t.x) @@ plainto_tsquery(%(c)s)",
    "SELECT array_agg(t.x), to_char(t.at, 'YYYY'), date_format(t.at, '%%Y'), lag(t.x) OVER (ORDER BY t.y) FROM t",
    "SELECT lead(t.x, 1) OVER (ORDER BY t.y), json_value(t.j, '$.a'), jsonb_array_length(t.j -> 'a') FROM t",
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
    "WITH t(x) AS (SELECT 1) SELECT * FROM now(), pay(1) AS (a int)",
    "WITH t(x) AS (SELECT 1) SELECT pay(1)",
    "WITH t(x) AS (SELECT pay(1)) SELECT 1",
    "WITH t(x) AS (SELECT 1), shop.pay(x) AS (SELECT 1) SELECT 1",
    "SELECT CAST(t.at AS TIMESTAMP WITH TIME ZONE), pay(1) FROM t",
    "SELECT t.at::TIMESTAMP WITH TIME ZONE, pay(1) FROM t",
    "WITH t(x) AS (SELECT 1) REPLACE INTO u SELECT * FROM t",
    "REPLACE(t) VALUES (1)",
    "SELECT [pay](1)",
    "SELECT @a",
    "SELECT 1 INTO @a",
]


@pytest.mark.parametrize("statement", READS)
def test_it_reads(statement: str) -> None:
    """A SELECT that calls nothing but the databases' own harmless functions, and takes no lock."""
    assert beyond_reading(statement) is None


@pytest.mark.parametrize("statement", MORE)
def test_it_may_write(statement: str) -> None:
    """Everything else, what only might be something else included."""
    assert beyond_reading(statement)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT nextval('s')", "SELECT with function nextval"),
        ("SELECT t.x FROM t FOR UPDATE", "SELECT with FOR"),
        ("WITH gone AS (DELETE FROM t RETURNING t.x) SELECT gone.x FROM gone", "SELECT with DELETE"),
        ("SELECT shop.pay(1)", "SELECT with a function with a quoted name or a schema"),
        ("SELECT 1; DELETE FROM t", "SELECT with ';'"),
        ("insert into t values (1)", "INSERT"),
        ("SET x = 1", "SET"),
        ("CALL pay(1)", "CALL"),
        ("CREATE TABLE t (x INT)", "CREATE"),
        ("", "an empty statement"),
    ],
)
def test_it_is_named(statement: str, said: str) -> None:
    """For the warning: what it was that is more than reading."""
    assert beyond_reading(statement) == said
