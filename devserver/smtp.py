"""A local relay: it requires STARTTLS, replies 250 only when the message is on the disk, and has faults to order."""

from __future__ import annotations

import argparse
import asyncio
import signal
import ssl
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from devserver import HOST
from devserver.faults import Fault, Faults
from devserver.mailbox import Mailbox

SLOW_SECONDS = 3.0
GREYLIST_SECONDS = 20.0
LOOK_SECONDS = 0.1  # how often a relay looks whether it is to be down


class Relay:
    """Puts each message that arrives into the mailbox, unless a fault is set."""

    def __init__(self, name: str, mailbox: Mailbox, faults: Faults) -> None:
        self._name = name
        self._mailbox = mailbox
        self._faults = faults
        self._seen: dict[tuple[str, str], float] = {}

    @property
    def fault(self) -> Fault:
        """What it does now."""
        return self._faults.of(self._name)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        await self._wait()
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        await self._wait()
        fault = self.fault
        if fault is Fault.QUOTA:
            return "550 5.4.5 Daily sending quota exceeded"
        if fault is Fault.GREYLIST and (left := self._greylisted(envelope.mail_from or "", address)) > 0:
            return f"451 4.7.1 Greylisted, try again in {left:.0f} seconds"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        await self._wait()
        content = envelope.original_content or b""
        name = self._mailbox.add(envelope.mail_from or "", envelope.rcpt_tos, content, self._name)
        if self.fault is Fault.CUT:
            print(f"took mail for {', '.join(envelope.rcpt_tos)}, and closes without a reply", flush=True)
            server.transport.abort()
            return ""
        print(f"took mail for {', '.join(envelope.rcpt_tos)}", flush=True)
        return f"250 2.0.0 OK: {name}"

    async def _wait(self) -> None:
        if self.fault is Fault.SLOW:
            await asyncio.sleep(SLOW_SECONDS)

    def _greylisted(self, sender: str, recipient: str) -> float:
        """Seconds until it takes mail from this sender to this recipient."""
        now = asyncio.get_running_loop().time()
        return self._seen.setdefault((sender, recipient), now) + GREYLIST_SECONDS - now


class Connected(SMTP):
    """One connection, which is in `others` as long as it is open."""

    def __init__(self, others: set[asyncio.BaseTransport], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._others = others

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._others.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._others.discard(self.transport)
        super().connection_lost(error)


async def serve(port: int, certificate: Path, relay: Relay) -> None:
    """Serves until SIGTERM or SIGINT; while it is to be down it does not listen."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    connections: set[asyncio.BaseTransport] = set()

    def connection() -> SMTP:
        return Connected(
            connections,
            relay,
            hostname="localhost",
            ident="development server",
            enable_SMTPUTF8=True,
            tls_context=context,
            require_starttls=True,
            loop=loop,
        )

    server: asyncio.Server | None = None
    while not stop.is_set():
        if relay.fault is Fault.DOWN and server is not None:
            server.close()
            server = None
            for transport in list(connections):
                transport.abort()  # type: ignore[attr-defined]
        elif relay.fault is not Fault.DOWN and server is None:
            server = await loop.create_server(connection, HOST, port)
        try:
            await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
        except TimeoutError:
            continue
    if server is not None:
        server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="main")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--mailbox", type=Path, required=True)
    parser.add_argument("--faults", type=Path, required=True)
    given = parser.parse_args()
    relay = Relay(given.name, Mailbox(given.mailbox), Faults(given.faults))
    asyncio.run(serve(given.port, given.certificate, relay))


if __name__ == "__main__":
    main()
