"""MariaDB as it is run: idle connections that it ends, a switch-over to the replica, and a Galera cluster."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from outbox.models import Base
from tests.servers.databases import Database
from tests.servers.mariadb import MariaDBServer
from tests.servers.mariadb_pairs import GaleraNode, Replica, logged
from tests.servers.proxy import Freezer
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, Stage, until
from tests.story.switching import works_again

pytestmark = [pytest.mark.long, pytest.mark.databases("mariadb")]

CONFLICT = 1213


@pytest.fixture
def slow_relay(tmp_path: Path) -> Iterator[Relay]:
    with Relay(tmp_path, delay=0.1) as relay:
        yield relay


def with_tables(server: MariaDBServer) -> URL:
    """The address of a new database, for a user that read_only stops."""
    server.create("shop")
    server.sql("CREATE USER shop@'127.0.0.1' IDENTIFIED BY 'secret'")
    server.sql("GRANT ALL ON shop.* TO shop@'127.0.0.1'")
    address = server.url("shop").set(username="shop", password="secret")
    engine = sa.create_engine(address)
    Base.metadata.create_all(engine)
    engine.dispose()
    return address


def test_idle_connections_are_ended_by_the_server(slow_relay: Relay, make_stage: MakeStage) -> None:
    """wait_timeout=5, and a worker that has nothing to do: the next mail goes out as if nothing had been."""
    server = MariaDBServer(fsync=False, options=["--wait-timeout=5"])
    try:
        settings = {"OUTBOX_POLL_SECONDS": "20", "OUTBOX_HEARTBEAT_SECONDS": "8", "OUTBOX_DEAD_AFTER_SECONDS": "40"}
        stage = make_stage(
            Database("mariadb", with_tables(server)), slow_relay.port, OUTBOX_LEASE_SECONDS="60", **settings
        )
        worker = stage.start()
        stage.send(3)
        assert stage.settle() == {"sent": 3}
        before = ended(server)
        until(lambda: ended(server) > before, "the server ends connections", 60)
        stage.engine.dispose()
        stage.send(3)
        assert stage.settle() == {"sent": 6}
        worker.signal(signal.SIGTERM)
        assert worker.wait(30) == 0
        assert "ERROR" not in worker.log(), worker.log()
        assert max(slow_relay.copies().values()) == 1
    finally:
        server.close()


def ended(server: MariaDBServer) -> int:
    """How many connections the server has ended by itself."""
    return int(str(server.sql("SHOW GLOBAL STATUS LIKE 'Aborted_clients'")["Value"]))


def test_the_primary_becomes_read_only(slow_relay: Relay, make_stage: MakeStage) -> None:
    """It stays up with its connections; new ones lead to the replica, which takes writes then. No duplicate."""
    primary = MariaDBServer(fsync=False, options=logged(1))
    try:
        replica = Replica(primary)
        address = with_tables(primary)
        try:
            with Freezer(("127.0.0.1", address.port or 0)) as switch:
                stage = make_stage(
                    Database("mariadb", address.set(port=switch.port)), slow_relay.port, OUTBOX_CONNECTIONS="2"
                )
                stage.start()
                stage.send_together(60)
                until(lambda: len(slow_relay.taken()) >= 15, "the first arrive")
                primary.sql("SET GLOBAL read_only = ON")
                replica.promote(primary)
                promoted_at = time.monotonic()
                switch.turn_to(("127.0.0.1", replica.url("").port or 0))
                works_again(stage, slow_relay, promoted_at, 60)
                assert max(slow_relay.copies().values()) == 1
                assert len(slow_relay.copies()) == 63
                stage.close()
        finally:
            replica.close()
    finally:
        primary.close()


def test_workers_on_two_nodes_of_a_cluster(relay: Relay, make_stage: MakeStage) -> None:
    """Row locks stay on their node, so both claim the same mail: COMMIT answers 1213 to one of them, which sends none.

    The application writes by both nodes, too.
    """
    first = GaleraNode()
    try:
        address = with_tables(first)
        second = GaleraNode(first)
        try:
            here = make_stage(Database("mariadb", address), relay.port)
            there = address.set(port=second.url("").port)
            for _ in range(2):
                here.start(), here.start(DATABASE_URL=there.render_as_string(hide_password=False))
            other = make_stage(Database("mariadb", there), relay.port)
            for one in [here, other] * 10:
                until(partial(sent_together, one), "a transaction of the application")
            assert here.settle(120) == {"sent": 600}
            assert len(relay.copies()) == 600
            assert max(relay.copies().values()) == 1
            assert refused(first) + refused(second) > 0  # else nothing was tested
        finally:
            second.close()
    finally:
        first.close()


def sent_together(stage: Stage) -> bool:
    """One transaction; refused, it is to be done again, as each on such a cluster is."""
    try:
        return bool(stage.send_together(30))
    except sa.exc.OperationalError as error:
        if error.orig is None or error.orig.args[0] != CONFLICT:
            raise
        return False


def refused(node: MariaDBServer) -> int:
    """How many transactions of this node the cluster has refused, at COMMIT or before."""
    named = ("wsrep_local_cert_failures", "wsrep_local_bf_aborts")
    return sum(int(str(node.sql(f"SHOW GLOBAL STATUS LIKE '{name}'")["Value"])) for name in named)
