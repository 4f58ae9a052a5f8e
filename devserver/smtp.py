"""The local SMTP server: it requires STARTTLS, and replies 250 only when the message is on the disk."""

from __future__ import annotations

import argparse
import asyncio
import signal
import ssl
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from devserver.mailbox import Mailbox
from devserver.settings import HOST


class Keep:
    """Puts each message that arrives into the mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        name = self._mailbox.add(envelope.mail_from or "", envelope.rcpt_tos, content)
        print(f"took mail for {', '.join(envelope.rcpt_tos)}", flush=True)
        return f"250 2.0.0 OK: {name}"


async def serve(port: int, certificate: Path, mailbox: Mailbox) -> None:
    """Serves until SIGTERM or SIGINT."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)

    def connection() -> SMTP:
        return SMTP(
            Keep(mailbox),
            hostname="localhost",
            ident="development server",
            enable_SMTPUTF8=True,
            tls_context=context,
            require_starttls=True,
            loop=loop,
        )

    server = await loop.create_server(connection, HOST, port)
    await stop.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--mailbox", type=Path, required=True)
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.certificate, Mailbox(given.mailbox)))


if __name__ == "__main__":
    main()
