"""Whether the sink is a bottleneck: mails a second from clients that do nothing but write what was built beforehand.

They send a hundred mails at a time, commands, content and all, without waiting for a reply in between. No real client
may do that (RFC 2920 §3.1 ends a group at DATA), but the sink does the same work for it.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading

from benchmarks import mails, stats
from benchmarks.ground import Ground
from benchmarks.sink import Sink

CLIENTS = 2
_GROUP = 100
_REPLIES = 4  # to MAIL, RCPT, DATA and the final dot


def sink(ground: Ground) -> None:
    """Mails a second that the sink takes over TLS."""
    groups = max(ground.size.bare * 2 // _GROUP // CLIENTS, 1)
    for _ in range(ground.size.repetitions):
        ground.sink.reset()
        clients = [threading.Thread(target=_blast, args=(ground.sink, groups)) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        ground.keep("sink", f"{CLIENTS} clients", rate=stats.rate([one.at for one in ground.sink.accepted()]))


def _blast(sink: Sink, groups: int) -> None:
    group = b"".join(
        b"MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n%s.\r\n"
        % (mails.SENDER.encode(), mails.RECIPIENT.encode(), mail if mail.endswith(b"\r\n") else mail + b"\r\n")
        for mail in mails.wire(_GROUP)
    )
    with smtplib.SMTP("localhost", sink.port) as smtp:
        smtp.starttls(context=ssl.create_default_context(cafile=str(sink.ca_file)))
        smtp.ehlo()
        assert smtp.sock is not None
        for _ in range(groups):
            smtp.sock.sendall(group)
            _read_lines(smtp.sock, _GROUP * _REPLIES)


def _read_lines(connection: socket.socket, count: int) -> None:
    while count > 0:
        count -= connection.recv(65_536).count(b"\n")
