"""An SMTP server that never forgets: each mail it takes is on the disk before it says 250.

    python -m tests.story.recording_server --record taken.jsonl [--port 2525] [--certificate server.pem] [--delay 0.01]

It prints the port it listens on. Each line of the record is one recipient of one mail: {"id": its Message-ID, "to":
the recipient, "digest": SHA-256 of the content, "at": wall clock in seconds, "mail": the same when MAIL came,
"transaction": a number that its other recipients share}. A process of its own, on the standard library alone, so that
neither the sender's nor the test's death can touch what was taken.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import socket
import ssl
import threading
import time
from pathlib import Path

_MESSAGE_ID = re.compile(rb"(?im)^message-id:\s*(<[^>\r\n]*>)")
_EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


class Record:
    """The file of what was taken; what is written is durable before `add` returns."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        self._lock = threading.Lock()
        self._transaction = time.time_ns()  # greater than all of a server before it

    def add(self, content: bytes, recipients: list[str], began: float) -> None:
        found = _MESSAGE_ID.search(content)
        line = {"id": found[1].decode() if found else "", "digest": hashlib.sha256(content).hexdigest()}
        times = {"at": time.time(), "mail": began}
        with self._lock:
            self._transaction += 1
            more = times | {"transaction": self._transaction}
            lines = [json.dumps(line | {"to": recipient} | more) + "\n" for recipient in recipients]
            os.write(self._file, "".join(lines).encode())
            os.fsync(self._file)


class Session:
    """One client."""

    def __init__(self, sock: socket.socket, record: Record, context: ssl.SSLContext | None, delay: float) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._lines = sock.makefile("rb")
        self._record = record
        self._context = context
        self._delay = delay
        self._recipients: list[str] = []
        self._began = 0.0  # when MAIL came

    def serve(self) -> None:
        """Until the client is gone."""
        with contextlib.suppress(OSError), contextlib.closing(self._sock):
            self._say("220 recorder ESMTP")
            while line := self._lines.readline(4096):
                if not self._command(line.decode("utf-8", "replace").rstrip()):
                    return

    def _command(self, line: str) -> bool:
        verb = line.partition(" ")[0].upper()
        match verb:
            case "EHLO" | "HELO":
                offers = [*_EXTENSIONS, *(["STARTTLS"] if self._context else [])]
                self._say("250-recorder", *(f"250-{offer}" for offer in offers[:-1]), f"250 {offers[-1]}")
            case "STARTTLS" if self._context:
                self._say("220 2.0.0 go ahead")
                self._sock = self._context.wrap_socket(self._sock, server_side=True)
                self._lines, self._context = self._sock.makefile("rb"), None
            case "MAIL" | "RSET" | "NOOP":
                self._recipients, self._began = [], time.time()
                self._say("250 2.0.0 ok")
            case "RCPT":
                self._recipients.append(line[line.index("<") + 1 : line.index(">")])
                self._say("250 2.1.5 ok")
            case "DATA":
                self._say("354 go ahead")
                return self._content()
            case "QUIT":
                self._say("221 2.0.0 bye")
                return False
            case _:
                self._say("500 5.5.2 unknown command")
        return True

    def _content(self) -> bool:
        content = bytearray()
        while (line := self._lines.readline()) != b".\r\n":
            if not line.endswith(b"\r\n"):
                return False  # the client died within the content: nothing was taken
            content += line.removeprefix(b".")
        self._record.add(bytes(content), self._recipients, self._began)
        if self._delay:
            time.sleep(self._delay)
        self._say("250 2.0.0 ok queued as " + hashlib.sha256(content).hexdigest()[:10])
        return True

    def _say(self, *lines: str) -> None:
        self._sock.sendall("".join(f"{line}\r\n" for line in lines).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate", type=Path, help="key and certificate, PEM: offers STARTTLS")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds between taking a mail and saying so")
    arguments = parser.parse_args()
    context = None
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate)
    record = Record(arguments.record)
    with socket.create_server(("127.0.0.1", arguments.port), backlog=128) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            session = Session(sock, record, context, arguments.delay)
            threading.Thread(target=session.serve, daemon=True).start()


if __name__ == "__main__":
    main()
