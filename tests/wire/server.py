"""An SMTP server over real sockets that misbehaves on command and records exactly what it received.

    with SmtpServer({"rcpt": "550 5.1.1 no such user"}, tls="starttls") as server:
        connection = Connection(mail, server.relay(send_timeout=0.5))
        ...
        assert server.messages == []

`script` maps a step to what is done there instead of the usual reply: a reply as a string ("250-" lines come from line
feeds in it), one of `tests.wire.actions`, `turns(...)` for one after the other, or a function of the `Client` that
returns one of these, or None for the usual reply. The steps, in the order of a session:

    connect     before anything else                handshake   instead of the TLS handshake
    greeting    220                                 ehlo        each EHLO (in TLS: ehlo_tls if scripted)
    starttls    the command                         auth        the whole of AUTH, after the client's last line
    mail rcpt data noop rset quit                   body        while content is read: `After(size, action)`
    dot         after the final dot: `Take(action)` records the mail first; a 2xx records it by itself

`server.messages` has one `Mail(mail_from, rcpt, content)` for each recipient of each mail taken, the content without
its dot-stuffing. `server.commands` has the lines received outside of content, `server.unfinished` content without a
dot, `server.ahead` the commands that a client sent without waiting although PIPELINING was not offered.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import re
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from outbox.settings.relay import Relay, Security
from tests.wire import certificates
from tests.wire.actions import Action, After, Choice, Gone, Take, Turns, end, perform

EXTENSIONS = ("PIPELINING", "SIZE 10485760", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")


class Mail(NamedTuple):
    """One mail as one recipient would get it."""

    mail_from: str
    rcpt: str
    content: bytes


class SmtpServer:
    """Listens on a free port of this machine from `start` (or `with`) to `stop`."""

    def __init__(
        self,
        script: Mapping[str, Choice] | None = None,
        *,
        tls: str | None = None,
        certificate: str = "good",
        extensions: Iterable[str] = EXTENSIONS,
        strip_starttls: bool = False,
        auth: Mapping[str, str] | None = None,
        mechanisms: str = "PLAIN LOGIN CRAM-MD5 XOAUTH2",
        host: str = "127.0.0.1",
        port: int = 0,
        receive_buffer: int | None = None,
        takes_token: Callable[[str, str], bool] | None = None,
    ) -> None:
        """`tls`: None, "starttls" or "implicit". `auth`: passwords by user name; given, MAIL needs a log-in first.
        `takes_token`: asked about user name and access token, in place of the passwords."""
        self.script: dict[str, Choice] = dict(script or {})
        self.tls = tls
        self.certificate = certificate
        self.extensions = tuple(extensions)
        self.strip_starttls = strip_starttls
        self.auth = auth
        self.mechanisms = mechanisms
        self.host = host
        self.port = port
        self.messages: list[Mail] = []
        self.commands: list[str] = []
        self.unfinished: list[bytes] = []
        self.ahead: list[str] = []
        self.ehlo_names: list[str] = []
        self.connections = 0
        self.steps: Counter[str] = Counter()
        self.takes_token = takes_token
        self._receive_buffer = receive_buffer
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self.clients: set[Client] = set()  # those that are connected
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None

    def start(self) -> Self:
        """Binds, listens; `port` is set from here on."""
        families = {"/": socket.AF_UNIX, ":": socket.AF_INET6}  # a path is that of a Unix socket
        family = next((family for mark, family in families.items() if mark in self.host), socket.AF_INET)
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        listener.bind(self.host if family == socket.AF_UNIX else (self.host, self.port))
        listener.listen(128)
        self.port = 0 if family == socket.AF_UNIX else listener.getsockname()[1]
        self._listener = listener
        self._stopping.clear()
        self._spawn(self._accept, listener)
        return self

    def stop(self) -> None:
        """Ends the listener, every connection and every thread."""
        self._stopping.set()
        if self._listener is not None:
            _shut(self._listener)
        with self._changed:
            clients = list(self.clients)
        for client in clients:
            _shut(client.sock)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a thread of the test server hangs"
        self._threads.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def ca_file(self) -> Path | None:
        """What a client has to trust; None in plain text."""
        return certificates.ca_file() if self.tls else None

    def relay(self, **changes: Any) -> Relay:
        """How to reach this server; `changes` are fields of Relay."""
        security = {None: Security.NONE, "starttls": Security.STARTTLS, "implicit": Security.TLS}[self.tls]
        settings: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "security": security,
            "ca_file": self.ca_file,
            "connect_timeout": 30.0,
            "command_timeout": 30.0,
            "send_timeout": 30.0,
            "dot_timeout": 30.0,
        }
        return Relay(**(settings | changes))

    def wait_for(self, count: int, limit: float = 30.0) -> list[Mail]:
        """The messages, once there are `count`. Raises AssertionError after `limit` seconds."""
        return self.wait_until(lambda: len(self.messages) >= count and self.messages, limit, f"{count} messages")

    def wait_until(self, condition: Callable[[], Any], limit: float = 30.0, what: str = "it") -> Any:
        """What `condition` returns, once that is true. It is asked whenever the server has received something."""
        with self._changed:
            value = self._changed.wait_for(condition, limit)
        assert value, f"no {what} within {limit} s: {len(self.messages)} messages, commands {self.commands[-20:]}"
        return value

    def hang_up(self, last_words: bytes = b"") -> None:
        """Ends every connection there is, as a server does with idle ones; new ones are still taken."""
        with self._changed:
            clients = list(self.clients)
        for client in clients:
            with contextlib.suppress(OSError):
                if last_words:
                    client.sock.sendall(last_words)
            _shut(client.sock)
        self.wait_until(lambda: not self.clients.intersection(clients), what="hanging up")

    def say_to_all(self, words: bytes) -> None:
        """Says something unasked on every connection."""
        with self._changed:
            for client in self.clients:
                client.sock.sendall(words)

    def note(self, change: Callable[[], object]) -> None:
        """Makes a change that somebody may wait for."""
        with self._changed:
            change()
            self._changed.notify_all()

    def choose(self, step: str, client: Client) -> Action | None:
        """What the script wants at this step; None: the usual."""
        choice = self.script.get(step)
        with self._changed:
            turn = self.steps[step]
            self.steps[step] += 1
            self._changed.notify_all()
        if isinstance(choice, Turns):
            if turn < len(choice.actions):
                return choice.actions[turn]
            return choice.actions[-1] if choice.last_stays else None
        if choice is None or isinstance(choice, Action):
            return choice
        return choice(client)

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while not self._stopping.is_set():
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                client = Client(self, sock, self._stopping)
                with self._changed:
                    self.connections += 1
                    client.number = self.connections
                    self.clients.add(client)
                    self._changed.notify_all()
                self._spawn(self._serve, client)

    def _serve(self, client: Client) -> None:
        try:
            client.serve()
        except (Gone, OSError):  # OSError: the client went away, or the server is being stopped
            pass
        finally:
            end(client.sock)
            self.note(lambda: self.clients.discard(client))

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=target, args=arguments, name="test SMTP server", daemon=True)
        self._threads.append(thread)
        thread.start()


class Client:
    """One connection, seen from the server; scripts that are functions get it."""

    def __init__(self, server: SmtpServer, sock: socket.socket, stop: threading.Event) -> None:
        self.server = server
        self.sock = sock
        self.number = 0
        self.secure = False
        self.user: str | None = None
        self.mail_from: str | None = None
        self.recipients: list[str] = []
        self.line = ""
        self._stop = stop
        self._buffer = bytearray()
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def pending(self) -> bytes:
        """What was received and not yet looked at: the commands that were pipelined."""
        return bytes(self._buffer)

    def serve(self) -> None:
        """One session, from the greeting to the end."""
        self._do("connect", None)
        if self.server.tls == "implicit":
            self._handshake()
        self._do("greeting", "220 test.example ESMTP")
        while True:
            self.line = self._read_line().decode("utf-8", "replace")
            self.server.note(lambda: self.server.commands.append(_censored(self.line)))
            self._command(self.line.partition(" ")[0].upper())

    def _command(self, verb: str) -> None:
        if self._buffer and "PIPELINING" not in self.server.extensions:
            self.server.ahead.append(self.line)
        match verb:
            case "EHLO" | "HELO" | "LHLO":
                self._ehlo()
            case "STARTTLS":
                if self._do("starttls", "220 2.0.0 go ahead") == 2:
                    self._buffer.clear()
                    self._handshake()
            case "AUTH":
                self._auth()
            case "MAIL":
                self._mail()
            case "RCPT":
                if self._do("rcpt", "250 2.1.5 ok" if self.mail_from is not None else "503 5.5.1 MAIL first") == 2:
                    self.recipients.append(_address(self.line))
            case "DATA":
                if self._do("data", "354 go ahead" if self.recipients else "503 5.5.1 no valid recipients") == 3:
                    self._content()
            case "RSET":
                self._forget()
                self._do("rset", "250 2.0.0 ok")
            case "NOOP":
                self._do("noop", "250 2.0.0 ok")
            case "QUIT":
                self._do("quit", "221 2.0.0 bye")
                raise Gone
            case _:
                self._do("unknown", "500 5.5.2 unknown command")

    def _ehlo(self) -> None:
        self.server.ehlo_names.append(self.line.partition(" ")[2])
        self._forget()
        offers = list(self.server.extensions)
        if self.server.tls == "starttls" and not self.secure and not self.server.strip_starttls:
            offers.append("STARTTLS")
        if self.server.auth is not None:
            offers.append("AUTH " + self.server.mechanisms)
        step = "ehlo_tls" if self.secure and "ehlo_tls" in self.server.script else "ehlo"
        self._do(step, "\n".join(["250 test.example", *offers]))

    def _auth(self) -> None:
        mechanism, _, initial = self.line.partition(" ")[2].partition(" ")
        if mechanism.upper() not in self.server.mechanisms.split():
            self._say("504 5.5.4 unknown mechanism")
            return
        user = getattr(self, "_auth_" + mechanism.lower().replace("-", "_"))(initial)
        if self._do("auth", "235 2.7.0 welcome" if user else "535 5.7.8 wrong user name or password") == 2:
            self.user = user or "scripted"

    def _auth_plain(self, initial: str) -> str | None:
        _, user, password = base64.b64decode(initial or self._ask("")).decode().split("\0")
        return user if self._knows(user, password) else None

    def _auth_login(self, initial: str) -> str | None:
        user = base64.b64decode(initial or self._ask("Username:")).decode()
        password = base64.b64decode(self._ask("Password:")).decode()
        return user if self._knows(user, password) else None

    def _auth_cram_md5(self, _: str) -> str | None:
        challenge = "<1896.697170952@test.example>"
        user, _, digest = base64.b64decode(self._ask(challenge)).decode().rpartition(" ")
        password = (self.server.auth or {}).get(user, "")
        return user if hmac.new(password.encode(), challenge.encode(), "md5").hexdigest() == digest else None

    def _auth_xoauth2(self, initial: str) -> str | None:
        found = re.fullmatch("user=(.*)\x01auth=Bearer (.*)\x01\x01", base64.b64decode(initial).decode())
        if found and self._takes(found[1], found[2]):
            return found[1]
        self._ask('{"status":"401","schemes":"bearer","scope":"https://mail.example/"}')
        return None

    def _auth_oauthbearer(self, initial: str) -> str | None:
        form = f"n,a=(.*),\x01host=.*\x01port={self.server.port}\x01auth=Bearer (.*)\x01\x01"
        found = re.fullmatch(form, base64.b64decode(initial).decode())
        if found and self._takes(found[1].replace("=2C", ",").replace("=3D", "="), found[2]):
            return found[1]
        assert base64.b64decode(self._ask('{"status":"invalid_token","scope":"https://mail.example/"}')) == b"\x01"
        return None

    def _takes(self, user: str, token: str) -> bool:
        return self._knows(user, token) if self.server.takes_token is None else self.server.takes_token(user, token)

    def _knows(self, user: str, password: str) -> bool:
        return (self.server.auth or {}).get(user) == password

    def _ask(self, challenge: str) -> bytes:
        self._say("334 " + base64.b64encode(challenge.encode()).decode())
        return self._read_line()

    def _mail(self) -> None:
        usual = "250 2.1.0 ok"
        if self.server.auth is not None and self.user is None:
            usual = "530 5.7.0 authentication required"
        if self._do("mail", usual) == 2:
            self.mail_from = _address(self.line)
            self.recipients = []

    def _content(self) -> None:
        content = self._read_content()
        mails = [Mail(self.mail_from or "", rcpt, content) for rcpt in self.recipients]
        self._forget()
        action = self.server.choose("dot", self)
        if action is None or (isinstance(action, str) and action.startswith("2")):
            action = Take(action or f"250 2.0.0 ok queued as {self.number}-{len(self.server.messages)}")
        if isinstance(action, Take):
            self.server.note(lambda: self.server.messages.extend(mails))
        perform(action, self.sock, self._stop)

    def _read_content(self) -> bytes:
        """The content up to the final dot, without its dot-stuffing."""
        action = self.server.choose("body", self)
        assert action is None or isinstance(action, After), "the body's step takes After(size, action)"
        scanned = 0
        try:
            while True:
                if self._buffer.startswith(b".\r\n"):
                    size, skip = 0, 3
                    break
                if action is not None and len(self._buffer) >= action.size:
                    perform(action, self.sock, self._stop)
                    action = None
                if (found := self._buffer.find(b"\r\n.\r\n", max(0, scanned - 4))) >= 0:
                    size, skip = found + 2, 3
                    break
                scanned = len(self._buffer)
                self._fill()
        except (Gone, OSError):
            self.server.note(lambda: self.server.unfinished.append(bytes(self._buffer)))
            raise
        content = bytes(self._buffer[:size])
        del self._buffer[: size + skip]
        return re.sub(rb"(?m)^\.", b"", content)

    def _forget(self) -> None:
        self.mail_from = None
        self.recipients = []

    def _handshake(self) -> None:
        self._do("handshake", None)
        context = certificates.server_context(self.server.certificate)
        self.sock = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        assert isinstance(self.sock, ssl.SSLSocket)
        self.sock.do_handshake()
        self.secure = True

    def _do(self, step: str, usual: str | None) -> int:
        """Does what the script says, or `usual`; the class of the code that was said (2, 3, 4, 5), 0 for none."""
        action = self.server.choose(step, self)
        if action is None:
            if usual is None:
                return 0
            action = usual
        said = perform(action, self.sock, self._stop)
        return int(said[:1]) if said[:3].isdigit() else 0

    def _say(self, reply: str) -> None:
        perform(reply, self.sock, self._stop)

    def _read_line(self) -> bytes:
        while (found := self._buffer.find(b"\r\n")) < 0:
            self._fill()
        line = bytes(self._buffer[:found])
        del self._buffer[: found + 2]
        return line

    def _fill(self) -> None:
        data = self.sock.recv(262_144)
        if not data:
            raise Gone
        self._buffer += data


def _address(line: str) -> str:
    return line[line.index("<") + 1 : line.index(">")]


def _censored(line: str) -> str:
    return " ".join(line.split(" ")[:2]) if line.upper().startswith("AUTH ") else line


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
