"""`outbox-check`: everything that mail needs, looked at without sending any."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from outbox.cli.command import Command, Failure, No
from outbox.cli.common import console, extension, in_app, say, settings
from outbox.cli.options import envelope_of
from outbox.cli.output import print_json, safe
from outbox.cli.tables import print_pairs
from outbox.cli.text import Text
from outbox.core.errors import OutboxError
from outbox.operations import Finding

if TYPE_CHECKING:
    from outbox.cli.dns.lookup import Lookup

_STYLES = {True: ("ok", "green"), False: ("FAULT", "bold red"), None: ("note", "yellow")}


@click.command("outbox-check", cls=Command)
@click.option("--from", "senders", metavar="ADDRESS", multiple=True, help="Try this sender, too.")
@click.option("--to", "recipient", metavar="ADDRESS", help="Try this recipient, too; nothing is sent to it.")
@click.option("--dns", "with_dns", is_flag=True, help="Look at the senders' domains, too: SPF, DKIM, DMARC.")
@click.option("--resolver", metavar="ADDRESS", help="With --dns: ask this server, 9.9.9.9 or 127.0.0.1:5353.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def check(senders: tuple[str, ...], recipient: str | None, with_dns: bool, resolver: str | None, as_json: bool) -> None:
    """Check everything that sending needs; send nothing.

    Checks the configuration, database, migrations, connection to the relay, log-in, and whether the relay accepts mail
    from the configured senders (MAIL FROM, then RSET). With --to it is also asked about a recipient (RCPT TO). All
    faults are reported at once, each with its remedy. No check takes longer than ten seconds.

    With --dns the domains of all senders are looked up, those of kinds, too: whether SPF names the relay, whether the
    DKIM records fit the keys, which policy DMARC has (RFC 9989), whether From is aligned on each transport, and the MX
    of OUTBOX_BOUNCE_DOMAIN. Needs the extra `check`.

    Exit code 0: mail can be sent. 1: it can't.

    \b
    Examples:
      outbox-check
      outbox-check --to ann@example.org
      outbox-check --dns
    """
    lookup = _lookup(resolver) if with_dns or resolver is not None else None
    try:
        good = _check(senders, recipient, lookup, as_json)
    except Failure as failure:
        found = [Finding("application", False, failure.message)]
        raise No(failure.message, value={"ok": False, "checks": found}) from failure
    raise click.exceptions.Exit(0 if good else 1)


@in_app
def _check(senders: tuple[str, ...], recipient: str | None, lookup: Lookup | None, as_json: bool) -> bool:
    from outbox.cli import diagnosis

    wanted = [envelope_of(sender, "--from") for sender in senders]
    found = list(diagnosis.findings(wanted, None if recipient is None else envelope_of(recipient, "--to")))
    if lookup is not None:
        found += _dns(lookup, wanted)
    faults = sum(finding.ok is False for finding in found)
    if as_json:
        print_json({"ok": not faults, "checks": found})
    else:
        show(found)
        say(f"{_counted(faults)} found." if faults else "No fault found: mail can be sent, as far as was checked.")
    return not faults


def _lookup(server: str | None) -> Lookup:
    from outbox.cli.dns import authors, lookup

    try:
        return lookup.Lookup(None if server is None else authors.resolver(server))
    except ImportError:
        raise Failure(lookup.MISSING) from None
    except ValueError as problem:
        raise Failure(f"--resolver: {problem}") from None


def _dns(lookup: Lookup, senders: list[str]) -> Iterable[Finding]:
    """Of the domains of all senders; none where the configuration is faulty, which is reported as such."""
    from outbox.cli import diagnosis
    from outbox.cli.dns import authors, check

    try:
        configured = settings()
    except OutboxError:
        return []
    known = authors.authors([*diagnosis.configured_senders(), *senders], extension().kinds, configured)
    return check.Check(lookup, known, configured.transports, configured.bounce_domain).findings()


def _counted(faults: int) -> str:
    return "1 fault" if faults == 1 else f"{faults} faults"


def show(found: Iterable[Finding]) -> None:
    """The findings, a line each; on a terminal it is wrapped at a word."""
    out = console()
    for finding in found:
        mark, style = _STYLES[finding.ok]
        remedy = f" {finding.remedy}" if finding.remedy else ""
        said = finding.words if not remedy or finding.words.endswith((".", "?")) else f"{finding.words}."
        words = Text.assemble((mark, style), " ", safe(" ".join(f"{said}{remedy}".split())))
        print_pairs(out, [(finding.check.ljust(13), words)])
