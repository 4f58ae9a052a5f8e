"""Two MariaDB servers with the same data: a primary with its replica, and two nodes of a Galera cluster."""

from __future__ import annotations

from pathlib import Path

from tests.servers.mariadb import USER, MariaDBServer
from tests.servers.process import ServerUnavailable, free_port, run

PROVIDERS = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera/libgalera_smm.so")


class Replica(MariaDBServer):
    """Follows a primary, and takes no writes until it is promoted."""

    def __init__(self, primary: MariaDBServer) -> None:
        super().__init__(options=[*logged(2), "--read-only=ON"])
        source = primary.url("")
        self.sql(
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={source.port}, MASTER_USER='{USER}', "
            f"MASTER_PASSWORD='{source.password}', MASTER_USE_GTID=slave_pos"
        )
        self.sql("START SLAVE")

    def promote(self, primary: MariaDBServer) -> None:
        """Take what the primary has written, then writes."""
        position = primary.sql("SELECT @@gtid_binlog_pos AS at")["at"]
        self.sql(f"SELECT MASTER_GTID_WAIT('{position}', 30)")
        self.sql("STOP SLAVE")
        self.sql("SET GLOBAL read_only = OFF")


def logged(number: int) -> list[str]:
    """The options of a server that replicas can follow."""
    return [f"--server-id={number}", "--log-bin=binlog", "--log-slave-updates=ON", "--binlog-format=ROW"]


class GaleraNode(MariaDBServer):
    """A node of a cluster of two: the first, or one that begins with the data of the first and joins it."""

    def __init__(self, first: GaleraNode | None = None) -> None:
        """`first`: stopped, and started again before this one joins. Raises ServerUnavailable."""
        provider = next((one for one in PROVIDERS if Path(one).exists()), None)
        if provider is None:
            raise ServerUnavailable("no libgalera_smm.so on this machine (Debian's package galera-4)")
        self._first = first
        self.group_port, incoming = free_port(), free_port()
        listening = f"gmcast.listen_addr=tcp://127.0.0.1:{self.group_port};ist.recv_addr=127.0.0.1:{incoming}"
        joins = (
            [f"--wsrep-cluster-address=gcomm://127.0.0.1:{first.group_port}"]
            if first
            else ["--wsrep-cluster-address=gcomm://"]
        )
        super().__init__(
            options=[
                *("--wsrep-on=ON", f"--wsrep-provider={provider}", f"--wsrep-provider-options={listening}"),
                *("--wsrep-node-address=127.0.0.1", "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2", *joins),
            ]
        )

    def _initialise(self) -> None:
        if self._first is None:
            super()._initialise()
            return
        self._first.stop()
        run(["cp", "-a", self._first._data, self._first._folder / "init.sql", self._folder], cwd=self._folder)
        self._password = self._first._password
        self._first.start()

    def _accepts(self) -> bool:
        return super()._accepts() and self.sql("SHOW STATUS LIKE 'wsrep_ready'").get("Value") == "ON"
