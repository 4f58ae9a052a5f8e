"""The operators' commands, on `manage.py` and on every application's `flask` by the entry points in pyproject.toml."""

from __future__ import annotations

from outbox.cli.again import send_again
from outbox.cli.audit import audit
from outbox.cli.batches import batches
from outbox.cli.bounce import bounce
from outbox.cli.bounces import bounces
from outbox.cli.change import cancel, mark_sent, requeue, send_now
from outbox.cli.check import check
from outbox.cli.correct import correct_recipient
from outbox.cli.create import create_tables
from outbox.cli.digests import digests
from outbox.cli.dkim_key import dkim_key
from outbox.cli.effects import effects
from outbox.cli.erase import erase
from outbox.cli.export import export
from outbox.cli.keys import keys, rotate_keys
from outbox.cli.kinds import kinds
from outbox.cli.lint import lint
from outbox.cli.list import list_
from outbox.cli.mjml import mjml
from outbox.cli.pause import pause, resume
from outbox.cli.preview import preview
from outbox.cli.purge import purge
from outbox.cli.sender import sender
from outbox.cli.show import show
from outbox.cli.status import status
from outbox.cli.stop_worker import stop_worker
from outbox.cli.suppress import suppress, unsuppress
from outbox.cli.suppressions import suppressions
from outbox.cli.test_mail import test_mail

__all__ = [
    "audit",
    "batches",
    "bounce",
    "bounces",
    "cancel",
    "check",
    "correct_recipient",
    "create_tables",
    "digests",
    "dkim_key",
    "effects",
    "erase",
    "export",
    "keys",
    "kinds",
    "lint",
    "list_",
    "mark_sent",
    "mjml",
    "pause",
    "preview",
    "purge",
    "requeue",
    "resume",
    "rotate_keys",
    "send_again",
    "send_now",
    "sender",
    "show",
    "status",
    "stop_worker",
    "suppress",
    "suppressions",
    "test_mail",
    "unsuppress",
]
