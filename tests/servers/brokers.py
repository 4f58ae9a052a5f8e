"""Real message brokers, for what runs beside or on Celery."""

from __future__ import annotations

import shutil
import signal
import socket
from pathlib import Path

from tests.servers.process import OwnServer, ServerProcess, ServerUnavailable, free_port, own_folder

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # what is on the PATH insists on being root or rabbitmq


class RedisServer(OwnServer):
    """What was taken is on the disk, as far as `kill -9` goes."""

    def __init__(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise ServerUnavailable(missing()["redis"])
        self._program = program
        self._folder = own_folder("outbox-redis-")
        self._process = ServerProcess(self._folder, "redis-server")
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        """As Celery's `broker_url` wants it."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Starts it on the same port and data; nothing if it runs."""
        self._process.start(
            [
                *(self._program, "--bind", "127.0.0.1", "--port", str(self._port), "--dir", str(self._folder)),
                *("--appendonly", "yes", "--save", ""),
            ],
            self._accepts,
        )

    def stop(self) -> None:
        """A clean shutdown."""
        self._process.stop(signal.SIGTERM)

    def kill(self) -> None:
        """`kill -9`."""
        self._process.stop(signal.SIGKILL)

    def _accepts(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
                connection.sendall(b"PING\r\n")  # LOADING, while it reads its file
                return connection.recv(100).startswith(b"+PONG")
        except OSError:
            return False


class RabbitMQServer(OwnServer):
    """With its own port mapper (epmd), so that another RabbitMQ on this machine is never met."""

    def __init__(self) -> None:
        mapper = shutil.which("epmd")
        if mapper is None or not RABBITMQ.exists():
            raise ServerUnavailable(missing()["rabbitmq"])
        self._folder = folder = own_folder("outbox-rabbitmq-")
        self._port, mapper_port = free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}//"
        """As Celery's `broker_url` wants it."""
        names = {"ERL_EPMD_PORT": str(mapper_port), "ERL_EPMD_ADDRESS": "127.0.0.1"}
        self._mapper_command = [mapper, "-port", str(mapper_port), "-address", "127.0.0.1"]
        self._mapper_port = mapper_port
        self._mapper = ServerProcess(folder, "epmd")
        self._process = ServerProcess(
            folder,
            "rabbitmq",
            names
            | {
                "RABBITMQ_NODENAME": f"outbox{self._port}@localhost",
                "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                "RABBITMQ_NODE_PORT": str(self._port),
                "RABBITMQ_DIST_PORT": str(free_port()),
                "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
                "RABBITMQ_LOG_BASE": str(folder),
                "RABBITMQ_LOGS": "-",
                "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
                "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced"),
                "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
                "RABBITMQ_FEATURE_FLAGS_FILE": str(folder / "feature_flags"),
                "RUNNING_UNDER_SYSTEMD": "true",  # the broker itself, instead of a shell that waits for it
            },
        )
        (folder / "enabled_plugins").write_text("[].\n")
        (folder / "rabbitmq-env.conf").touch()
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Starts it on the same port and data; nothing if it runs."""
        self._mapper.start(self._mapper_command, self._maps)
        self._process.start([RABBITMQ], self._accepts)

    def stop(self) -> None:
        """A clean shutdown."""
        self._process.stop(signal.SIGTERM)

    def kill(self) -> None:
        """`kill -9`."""
        self._process.stop(signal.SIGKILL)

    def close(self) -> None:
        """The end: stops it and its port mapper, and removes its data."""
        self.kill()
        self._mapper.stop(signal.SIGKILL)
        super().close()

    def _maps(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._mapper_port), timeout=5).close()
        except OSError:
            return False
        return True

    def _accepts(self) -> bool:
        import kombu  # not at the top: tests that need no broker need not wait for it

        try:
            with kombu.Connection(self.url, connect_timeout=5) as connection:
                connection.connect()
        except OSError:
            return False
        return True


def missing() -> dict[str, str]:
    """The brokers that this machine does not have, and why."""
    found = {}
    if shutil.which("redis-server") is None:
        found["redis"] = "no redis-server on this machine (Debian's package redis-server)"
    if shutil.which("epmd") is None or not RABBITMQ.exists():
        found["rabbitmq"] = "no RabbitMQ on this machine (Debian's package rabbitmq-server)"
    return found


BROKERS: dict[str, type[RedisServer | RabbitMQServer]] = {"redis": RedisServer, "rabbitmq": RabbitMQServer}
"""By the name that OUTBOX_TEST_REQUIRE knows them by."""
