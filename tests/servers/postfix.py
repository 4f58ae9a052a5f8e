"""A real Postfix: one hop that takes mail and passes it on, or ends it as its tables say.

The package need not be installed: `.ci/postfix`, or OUTBOX_TEST_POSTFIX, may be a folder into which it was unpacked
(`apt-get download postfix && dpkg -x postfix_*.deb FOLDER`).
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import smtplib
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.servers.process import ServerUnavailable, free_port, polled

_OWNER, _GROUP = "daemon", "mail"  # in every passwd and group file; Postfix wants two that are nobody else's
_START_SECONDS = 60.0
_SERVICES = """
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
pipe      unix - n n - - pipe
anvil     unix - - n - 1 anvil
scache    unix - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """Listens on `port`, from `with` on. Raises ServerUnavailable."""

    def __init__(self, next_port: int, settings: Mapping[str, str] | None = None, services: str = "") -> None:
        """All mail goes on to `next_port` of this machine, unless `settings` (main.cf) and `services` (lines of
        master.cf) say otherwise."""
        if os.geteuid() != 0:
            raise ServerUnavailable("Postfix starts as root only")
        root = _root()
        self._root = root
        self._folder = Path(tempfile.mkdtemp(prefix="outbox-postfix-"))
        self._folder.chmod(0o755)
        self.port = free_port()
        self.log = self._folder / "log"
        self._programs, self._libraries = root / "usr/lib/postfix/sbin", root / "usr/lib/postfix"
        self._process: subprocess.Popen[bytes] | None = None
        spool, data = self._folder / "spool", self._folder / "data"
        self._make_folders(spool, data)
        lines = {
            "compatibility_level": "3.6",
            "queue_directory": spool,
            "data_directory": data,
            "daemon_directory": self._programs,
            "command_directory": root / "usr/sbin",
            "shlib_directory": self._libraries,
            "meta_directory": self._folder,
            "mail_owner": _OWNER,
            "setgid_group": _GROUP,
            "default_privs": "nobody",
            "import_environment": "MAIL_CONFIG LD_LIBRARY_PATH LANG=C",
            "maillog_file": self.log,
            "maillog_file_prefixes": self._folder,
            "myhostname": "hop.example.org",
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "relayhost": f"[127.0.0.1]:{next_port}",
            "alias_maps": "",
            "alias_database": "",
            "local_recipient_maps": "",
            "smtpd_relay_restrictions": "permit_mynetworks,reject",
            "smtputf8_enable": "yes",
            **(settings or {}),
        }
        (self._folder / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in lines.items()))
        (self._folder / "master.cf").write_text(f"{self.port} inet n - n - - smtpd\n{_SERVICES}{services}")

    @property
    def folder(self) -> Path:
        """Where its configuration is."""
        return self._folder

    def __enter__(self) -> Self:
        # it cleans its environment, so that nothing of the tests' own gets into it
        environ = {**os.environ, "MAIL_CONFIG": str(self._folder), "LD_LIBRARY_PATH": str(self._libraries)}
        words = [self._programs / "master", "-c", self._folder, "-d"]
        setpriv = shutil.which("setpriv")
        self._process = subprocess.Popen(
            [setpriv, "--pdeathsig", "TERM", *words] if setpriv else words,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with polled("Postfix accepts connections", _START_SECONDS) as wait_a_little:
                while not self._accepts():
                    if self._process.poll() is not None:
                        raise ServerUnavailable(f"Postfix did not start: {self.last_words()}")
                    wait_a_little()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else "(no log)"

    def _stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)  # ends its children, too
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accepts(self) -> bool:
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=10):
                return True
        except (OSError, smtplib.SMTPException):
            return False

    def _make_folders(self, spool: Path, data: Path) -> None:
        owner, group = pwd.getpwnam(_OWNER).pw_uid, grp.getgrnam(_GROUP).gr_gid
        for folder in (spool, data, spool / "pid"):
            folder.mkdir()
        os.chown(data, owner, -1)
        for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private"):
            (spool / name).mkdir(0o700)
            os.chown(spool / name, owner, -1)
        for name in ("saved", "trace"):
            (spool / name).mkdir(0o700)
            os.chown(spool / name, owner, -1)
        for name in ("maildrop", "public"):
            (spool / name).mkdir(0o730)
            os.chown(spool / name, owner, group)


def _root() -> Path:
    """What `usr` of the package is in."""
    named = os.environ.get("OUTBOX_TEST_POSTFIX")
    unpacked = Path(__file__).resolve().parents[2] / ".ci" / "postfix"
    for root in (Path(named) if named else unpacked, Path("/")):
        if (root / "usr/lib/postfix/sbin/master").exists():
            return root
    raise ServerUnavailable("there is no Postfix (Debian: package postfix, which may be unpacked into .ci/postfix)")


def postfix(next_port: int, settings: Mapping[str, str] | None = None, services: str = "") -> Postfix:
    """Not started yet; the test is skipped where there is none, or fails where OUTBOX_TEST_REQUIRE asks for it."""
    try:
        return Postfix(next_port, settings, services)
    except ServerUnavailable as unavailable:
        if {"all", "postfix"} & set(os.environ.get("OUTBOX_TEST_REQUIRE", "").split(",")) and os.geteuid() == 0:
            pytest.fail(f"Postfix is required (OUTBOX_TEST_REQUIRE): {unavailable}", pytrace=False)
        pytest.skip(str(unavailable))
