"""Every command by its name and title: what the entry points in pyproject.toml lead to. A test compares the titles."""

from __future__ import annotations

from outbox.cli.lazy import LazyCommand

audit = LazyCommand("outbox-audit", "outbox.cli.audit:audit", "List who changed what, the newest first.")
batches = LazyCommand("outbox-batches", "outbox.cli.batches:batches", "Show how far each batch is.")
bounce = LazyCommand(
    "outbox-bounce", "outbox.cli.bounce:bounce", "Take one report about sent mail from standard input."
)
bounces = LazyCommand(
    "outbox-bounces", "outbox.cli.bounces:bounces", "Read the reports in the mailbox OUTBOX_BOUNCE_IMAP_URL."
)
cancel = LazyCommand("outbox-cancel", "outbox.cli.change:cancel", "Cancel queued mail.")
check = LazyCommand("outbox-check", "outbox.cli.check:check", "Check everything that sending needs; send nothing.")
correct_recipient = LazyCommand(
    "outbox-correct-recipient", "outbox.cli.correct:correct_recipient", "Send a message to another address."
)
create_tables = LazyCommand(
    "outbox-create-tables",
    "outbox.cli.create:create_tables",
    "Create the outbox's tables in the application's database.",
)
digests = LazyCommand("outbox-digests", "outbox.cli.digests:digests", "Show what waits for digests.")
dkim_key = LazyCommand(
    "outbox-dkim-key", "outbox.cli.dkim_key:dkim_key", "Make a DKIM key, and print the DNS record to publish."
)
effects = LazyCommand(
    "outbox-effects", "outbox.cli.effects:effects", "List what handlers and webhooks are still to do."
)
erase = LazyCommand("outbox-erase", "outbox.cli.erase:erase", "Erase a person.")
export = LazyCommand("outbox-export", "outbox.cli.export:export", "Export a person.")
keys = LazyCommand("outbox-keys", "outbox.cli.keys:keys", "Show which encryption keys are in use.")
kinds = LazyCommand("outbox-kinds", "outbox.cli.kinds:kinds", "Show the figures and the policy of each kind of mail.")
lint = LazyCommand("outbox-lint", "outbox.cli.lint:lint", "Check templates and messages for what is likely wrong.")
list_ = LazyCommand("outbox-list", "outbox.cli.list:list_", "List deliveries, the newest first.")
mark_sent = LazyCommand(
    "outbox-mark-sent", "outbox.cli.change:mark_sent", "Record that failed or uncertain mail has arrived."
)
mjml = LazyCommand("outbox-mjml", "outbox.cli.mjml:mjml", "Compile MJML to the Jinja templates beside it.")
pause = LazyCommand("outbox-pause", "outbox.cli.pause:pause", "Pause sending.")
preview = LazyCommand(
    "outbox-preview", "outbox.cli.preview:preview", "List the samples of mail, or write them into files."
)
purge = LazyCommand("outbox-purge", "outbox.cli.purge:purge", "Remove old mail.")
requeue = LazyCommand("outbox-requeue", "outbox.cli.change:requeue", "Send failed mail again.")
resume = LazyCommand("outbox-resume", "outbox.cli.pause:resume", "Resume sending, or list what is paused.")
rotate_keys = LazyCommand(
    "outbox-rotate-keys", "outbox.cli.keys:rotate_keys", "Put everything under the newest encryption key."
)
send_again = LazyCommand("outbox-send-again", "outbox.cli.again:send_again", "Resend a message that was already sent.")
send_now = LazyCommand("outbox-send-now", "outbox.cli.change:send_now", "Send deferred or scheduled mail now.")
sender = LazyCommand("outbox-sender", "outbox.cli.sender:sender", "Send the mail that is due: the worker.")
show = LazyCommand("outbox-show", "outbox.cli.show:show", "Show one delivery with its attempts.")
status = LazyCommand("outbox-status", "outbox.cli.status:status", "Show the state of the outbox.")
stop_worker = LazyCommand("outbox-stop-worker", "outbox.cli.stop_worker:stop_worker", "Ask a worker to stop.")
suppress = LazyCommand("outbox-suppress", "outbox.cli.suppress:suppress", "Send no more mail to an address.")
suppressions = LazyCommand(
    "outbox-suppressions",
    "outbox.cli.suppressions:suppressions",
    "List the addresses that get no mail, or say why one gets none.",
)
test_mail = LazyCommand("outbox-test-mail", "outbox.cli.test_mail:test_mail", "Send a test message through the outbox.")
unsuppress = LazyCommand("outbox-unsuppress", "outbox.cli.suppress:unsuppress", "Let an address get mail again.")

ALL = {str(one.name): one for one in list(globals().values()) if isinstance(one, LazyCommand)}
"""Each by its name."""
