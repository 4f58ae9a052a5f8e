"""A real IMAP server (Dovecot) with one mailbox, over TLS: by password, and by the access tokens that it is told of."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import signal
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.servers.process import UNPRIVILEGED, ServerProcess, ServerUnavailable, free_port, listens, own_folder
from tests.wire.certificates import authority

USER, PASSWORD = "bounces", "secret"

_CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
protocols = imap
listen = 127.0.0.1
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
first_valid_uid = 1
ssl = required
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
auth_mechanisms = plain xoauth2
auth_failure_delay = 0
mail_location = maildir:{folder}/mail/%u
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {folder}/oauth2.conf
}}
passdb {{
  driver = static
  mechanisms = plain
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/mail/%u
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
"""


_OAUTH2 = """\
introspection_mode = get
introspection_url = http://127.0.0.1:{port}/?token=
username_attribute = username
active_attribute = active
active_value = true
"""


class Dovecot:
    """Listens on 127.0.0.1. Raises ServerUnavailable."""

    def __init__(self) -> None:
        self.takes_token: Callable[[str], bool] = lambda token: False
        """Asked for each log-in by token."""
        self.tokens: list[str] = []  # that came
        found = shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin")
        if found is None:
            raise ServerUnavailable("there is no dovecot (package dovecot-imapd)")
        self._program = found
        self.port = free_port()
        self._folder = own_folder("outbox-dovecot-")
        owner = pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else pwd.getpwuid(os.getuid())
        group = grp.getgrgid(owner.pw_gid).gr_name
        certificate = authority().issue_cert("localhost", "127.0.0.1")
        certificate.private_key_pem.write_to_path(self._folder / "key.pem")
        for pem in certificate.cert_chain_pems:
            pem.write_to_path(self._folder / "cert.pem", append=True)
        config = _CONFIG.format(folder=self._folder, user=owner.pw_name, group=group, password=PASSWORD, port=self.port)
        (self._folder / "dovecot.conf").write_text(config)
        self._introspection = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        (self._folder / "oauth2.conf").write_text(_OAUTH2.format(port=self._introspection.server_port))
        for made in self._folder.iterdir():
            os.chown(made, owner.pw_uid, owner.pw_gid)
        self._process = ServerProcess(self._folder, "dovecot")

    @property
    def url(self) -> str:
        """For OUTBOX_BOUNCE_IMAP_URL."""
        return f"imaps://{USER}:{PASSWORD}@127.0.0.1:{self.port}/INBOX"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        dovecot = self

        class Handler(BaseHTTPRequestHandler):
            """What Dovecot asks about a token (RFC 7662)."""

            def do_GET(self) -> None:
                token = parse_qs(urlsplit(self.path).query).get("token", [""])[0]
                dovecot.tokens.append(token)
                body = json.dumps({"active": dovecot.takes_token(token), "username": USER}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Handler

    def __enter__(self) -> Self:
        threading.Thread(target=self._introspection.serve_forever, args=(0.05,), daemon=True).start()
        self._process.start([self._program, "-F", "-c", self._folder / "dovecot.conf"], lambda: listens(self.port))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stop(signal.SIGTERM)
        self._introspection.shutdown()
        self._introspection.server_close()
        shutil.rmtree(self._folder, ignore_errors=True)
