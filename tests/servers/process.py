"""A server process of the tests' own: unprivileged, ended with its parent, logged to a file."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

UNPRIVILEGED = "nobody"  # in every passwd file; initdb refuses to run as root and insists on a name for its user
START_SECONDS = 60.0
STOP_SECONDS = 60.0


class ServerUnavailable(Exception):
    """The server cannot be had on this machine; the text says why and what would help."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether a server accepts connections at this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def own_folder(prefix: str, parent: Path | None = None) -> Path:
    """A new temporary folder that the server's user, and nobody else, may use."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    if os.geteuid() == 0:
        shutil.chown(folder, UNPRIVILEGED)
    return folder


def reachable_by_others(path: Path) -> bool:
    """Whether a user without rights of their own may enter every folder above `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def run(command: Sequence[str | Path], cwd: Path) -> None:
    """Runs a set-up command as the server's user. Raises ServerUnavailable with what it printed."""
    done = subprocess.run(
        _as_server_user(command), cwd=cwd, env=_environment(cwd), stdin=subprocess.DEVNULL, capture_output=True
    )
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise ServerUnavailable(f"{Path(command[0]).name} failed: {said[-500:]}")


@contextmanager
def polled(what: str, seconds: float) -> Iterator[Callable[[], None]]:
    """Gives a `wait_a_little()` that raises TimeoutError when `seconds` have passed in all.

    It waits a twentieth of what it has waited already, 10 to 100 ms: looking costs CPU time that others need.
    """
    began = time.monotonic()

    def wait_a_little() -> None:
        passed = time.monotonic() - began
        if passed > seconds:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(min(max(0.01, passed / 20), 0.1))

    yield wait_a_little


def kill_with_children(*pids: int) -> None:
    """Ends these processes and all that they started, stopped ones too: nothing stays of a test that failed."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            process.suspend()  # or it starts another meanwhile
            found += [process, *process.children(recursive=True)]
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs([process for process in found if process.pid not in pids], STOP_SECONDS)


class ServerProcess:
    """One server process that can be stopped, killed and started again on the same data."""

    def __init__(self, folder: Path, name: str, environ: Mapping[str, str] | None = None) -> None:
        """`environ`: what the process finds there besides the usual."""
        # set by `env`, so that the program that gives up root's rights does not see it
        self._prefix = ["env", *(f"{name}={value}" for name, value in environ.items())] if environ else []
        self.folder = folder
        self.name = name
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, command: Sequence[str | Path], ready: Callable[[], bool]) -> None:
        """Starts and waits until `ready()`. Raises ServerUnavailable with the end of the log if it dies instead."""
        if self.running:
            return
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                _as_server_user([*self._prefix, *command]),
                cwd=self.folder,
                env=_environment(self.folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        with polled(f"{self.name} accepts connections", START_SECONDS) as wait_a_little:
            while not ready():
                if not self.running:
                    raise ServerUnavailable(f"{self.name} did not start: {self.last_words()}")
                wait_a_little()

    def stop(self, how: signal.Signals) -> None:
        """Sends the signal and waits for the end; after STOP_SECONDS it is killed."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def go_on(self) -> None:
        """Lets its own children run that somebody stopped."""
        if self._process is not None:
            for child in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.resume()

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-1500:].strip()


def _as_server_user(command: Sequence[str | Path]) -> list[str]:
    """`command` wrapped so that it runs unprivileged and, where the system can do that, dies with the tests."""
    words = [str(word) for word in command]
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0:
        return [setpriv, "--pdeathsig", "QUIT", *words] if setpriv else words
    if setpriv is None:
        raise ServerUnavailable("running as root, and there is no setpriv (package util-linux) to become another user")
    user = pwd.getpwnam(UNPRIVILEGED)
    become = ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
    return [setpriv, *become, "--pdeathsig", "QUIT", *words]


def _environment(home: Path) -> dict[str, str]:
    """A plain environment: PG* and MYSQL* variables of the caller would change what the server does."""
    plain = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    # a MariaDB that starts removes what another one keeps in the temporary folder that they share
    return plain | {"HOME": str(home), "TMPDIR": str(home)}


class OwnServer(ABC):
    """What all servers of our own share; each knows how it is started, stopped and killed."""

    controllable = True
    _folder: Path
    _process: ServerProcess
    _port: int

    @property
    def running(self) -> bool:
        return self._process.running

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def kill(self) -> None: ...

    def start_first(self) -> None:
        """Starts it, on another port where somebody has taken this one meanwhile."""
        for _ in range(2):
            try:
                self.start()
            except ServerUnavailable:
                self._port = free_port()
            else:
                return
        self.start()

    def restart(self, *, immediate: bool = False) -> None:
        if immediate:
            self.kill()
        else:
            self.stop()
        self.start()

    def close(self) -> None:
        """The end: stops it and removes its data."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
