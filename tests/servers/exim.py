"""A real Exim that relays to a server of the test's, and keeps what comes back to `bounce+…` in files."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.process import START_SECONDS, ServerUnavailable, free_port, listens, polled

_USER = "Debian-exim"  # of the package

_CONFIG = """\
exim_path = {program}
keep_environment =
primary_hostname = mx.example.org
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
pid_file_path = {folder}/exim.pid
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
tls_advertise_hosts =
acl_smtp_rcpt = accept
acl_smtp_data = accept
dsn_advertise_hosts = *
begin acl
accept:
  accept
begin routers
back:
  driver = accept
  domains = bounces.example.org
  local_parts = bounce
  local_part_suffix = +*
  transport = back
out:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = out
begin transports
back:
  driver = pipe
  command = /bin/sh {folder}/keep.sh
  return_path_add
  envelope_to_add
  user = {user}
  group = {group}
  temp_errors = 75
  return_fail_output
out:
  driver = smtp
  port = {to}
  allow_localhost
begin retry
* * F,2h,15m
"""


class Exim:
    """`to`: the port that all other mail goes to. Raises ServerUnavailable."""

    def __init__(self, to: int) -> None:
        found = shutil.which("exim4") or shutil.which("exim4", path="/usr/sbin")
        if found is None:
            raise ServerUnavailable("there is no exim4 (package exim4-daemon-light)")
        try:
            owner = pwd.getpwnam(_USER)
        except KeyError:
            raise ServerUnavailable(f"there is no user {_USER}, as which Exim runs") from None
        if os.geteuid() != 0:
            raise ServerUnavailable("only root may start Exim's daemon")
        self.port = free_port()
        self._program = found
        self._folder = Path(tempfile.mkdtemp(prefix="outbox-exim-"))
        (self._folder / "keep.sh").write_text(
            f"cat > {self._folder}/$$ && mv {self._folder}/$$ {self._folder}/$$.eml\n"
        )
        config = self._folder / "exim.conf"
        config.write_text(
            _CONFIG.format(
                program=found,
                folder=self._folder,
                port=self.port,
                user=_USER,
                group=owner.pw_gid,
                to=to,
            )
        )
        config.chmod(0o644)
        self._config = config
        shutil.chown(self._folder, _USER)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [self._program, "-C", str(self._config), "-bdf"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with polled("Exim accepts connections", START_SECONDS) as wait_a_little:
            while not listens(self.port):
                if self._process.poll() is not None:
                    raise ServerUnavailable(f"exim did not start: {self.log()[-500:]}")
                wait_a_little()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def back(self) -> list[Path]:
        """The mails that came back."""
        return sorted(self._folder.glob("*.eml"))

    def log(self) -> str:
        """What it says about each message."""
        return "".join(path.read_text() for path in sorted(self._folder.glob("*log")))
