"""`outbox-bounces`: the reports in a mailbox."""

from __future__ import annotations

import click

from outbox.cli.command import Command
from outbox.cli.common import application, database, in_app, say
from outbox.extension.state import bound_to


@click.command("outbox-bounces", cls=Command)
@in_app
def bounces() -> None:
    """Read the reports in the mailbox OUTBOX_BOUNCE_IMAP_URL.

    What was not read yet: delivery reports, complaints, automatic replies, and mail with the subject "unsubscribe
    TOKEN" (docs/unsubscribe.md). Each is recorded as by outbox-bounce, then marked as seen or moved to
    OUTBOX_BOUNCE_IMAP_FOLDER. What is no report, or has no valid token, stays where it is, unread. Workers do the same
    every OUTBOX_BOUNCE_IMAP_SECONDS; reading twice changes nothing.

    \b
    Examples:
      outbox-bounces
    """
    from outbox.operations import mail_reports
    from outbox.worker.bounce_mailbox import BounceMailbox

    mailbox = BounceMailbox(database(), bound_to(application()).settings)
    looked = mailbox.look(lambda one: say(mail_reports.line(one)))
    more = " There is more: run it again." if looked.more else ""
    say(f"{looked.taken} taken, {looked.left} left unread.{more}")
