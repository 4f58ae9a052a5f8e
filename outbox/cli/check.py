"""`outbox-check`: everything that mail needs, looked at without sending any."""

from __future__ import annotations

from collections.abc import Iterable

import click

from outbox.cli.command import Command, Failure, No
from outbox.cli.common import console, in_app, say
from outbox.cli.options import envelope_of
from outbox.cli.output import print_json, safe
from outbox.cli.tables import print_pairs
from outbox.cli.text import Text
from outbox.operations import Finding

_STYLES = {True: ("ok", "green"), False: ("FAULT", "bold red"), None: ("note", "yellow")}


@click.command("outbox-check", cls=Command)
@click.option("--from", "senders", metavar="ADDRESS", multiple=True, help="Try this sender, too.")
@click.option("--to", "recipient", metavar="ADDRESS", help="Try this recipient, too; nothing is sent to it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def check(senders: tuple[str, ...], recipient: str | None, as_json: bool) -> None:
    """Check everything that sending needs; send nothing.

    Checks the configuration, database, migrations, connection to the relay, log-in, and whether the relay accepts mail
    from the configured senders (MAIL FROM, then RSET). With --to it is also asked about a recipient (RCPT TO). All
    faults are reported at once, each with its remedy. No check takes longer than ten seconds.

    Exit code 0: mail can be sent. 1: it can't.

    \b
    Examples:
      outbox-check
      outbox-check --to ann@example.org
    """
    try:
        good = _check(senders, recipient, as_json)
    except Failure as failure:
        found = [Finding("application", False, failure.message)]
        raise No(failure.message, value={"ok": False, "checks": found}) from failure
    raise click.exceptions.Exit(0 if good else 1)


@in_app
def _check(senders: tuple[str, ...], recipient: str | None, as_json: bool) -> bool:
    from outbox.cli import diagnosis

    wanted = [envelope_of(sender, "--from") for sender in senders]
    found = list(diagnosis.findings(wanted, None if recipient is None else envelope_of(recipient, "--to")))
    faults = sum(finding.ok is False for finding in found)
    if as_json:
        print_json({"ok": not faults, "checks": found})
    else:
        show(found)
        say(f"{_counted(faults)} found." if faults else "No fault found: mail can be sent, as far as was checked.")
    return not faults


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
