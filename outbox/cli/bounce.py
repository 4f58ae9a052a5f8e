"""`outbox-bounce`: one report on standard input, for a mail server."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import click

from outbox.cli.command import Command, Failure
from outbox.cli.common import application, database, in_app, say
from outbox.extension.state import bound_to

UNREADABLE, TRY_AGAIN = 65, 75
"""Exit codes: EX_DATAERR, for which a mail server returns the mail, and EX_TEMPFAIL, for which it keeps it."""

_BESIDE = ("RECIPIENT", "ORIGINAL_RECIPIENT", "EXTENSION", "LOCAL_PART_SUFFIX")  # Postfix's, Exim's
_BLOCK = 1 << 16


class _ForServers(Command):
    """Whatever else goes wrong, the mail must not be lost: it is tried again."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.ClickException as error:
            error.show()
            raise click.exceptions.Exit(TRY_AGAIN) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except _Unreadable:
            raise
        except click.ClickException as error:
            error.show()
            raise click.exceptions.Exit(TRY_AGAIN) from error
        except (click.exceptions.Exit, click.Abort):
            raise
        except Exception:  # noqa: BLE001 - an error of ours, or of the application's
            traceback.print_exc()
            raise click.exceptions.Exit(TRY_AGAIN) from None


class _Unreadable(Failure):
    exit_code = UNREADABLE


@click.command("outbox-bounce", cls=_ForServers)
@click.argument("address", required=False)
@in_app
def bounce(address: str | None) -> None:
    """Take one report about sent mail from standard input.

    For a pipe of a mail server to which the mail to bounce+...@OUTBOX_BOUNCE_DOMAIN is delivered: delivery reports,
    complaints, automatic replies. Each event is stored once, however often the report comes, and suppresses the
    address only if the report carries an address that the outbox has signed (docs/bounces.md). ADDRESS is the one
    that the mail came to; Postfix and Exim also tell it in the environment, or in the mail itself.

    Mail to OUTBOX_UNSUBSCRIBE_MAILTO belongs here as well: one whose subject is "unsubscribe" and a valid token
    unsubscribes its recipient from that list (docs/unsubscribe.md).

    Exit code 0: taken. 65: there is no report or valid token in it, so that the server returns it to whoever wrote
    it. 75: not recorded, for whatever reason; the server keeps the mail and tries again.

    \b
    Examples:
      outbox-bounce < report.eml
      outbox-bounce bounce+3f...@bounces.example.org < report.eml
    """
    if sys.stdin.isatty():
        raise Failure("There is no mail on standard input: outbox-bounce < report.eml")
    from outbox.message.reports import UnreadableError
    from outbox.operations import mail_reports

    mail = _read()
    beside = " ".join([address or "", *(os.environ.get(name, "") for name in _BESIDE)])
    try:
        taken = mail_reports.take(database(), bound_to(application()).settings, mail, to=beside)
    except UnreadableError as error:
        raise _Unreadable(str(error)) from error
    for one in taken:
        say(mail_reports.line(one))


def _read() -> bytes:
    """As much as is looked at. The rest is read, too: a server may take a closed pipe for a failure."""
    from outbox.message.reports import MOST_BYTES

    mail = sys.stdin.buffer.read(MOST_BYTES)
    while sys.stdin.buffer.read(_BLOCK):
        pass
    return mail
