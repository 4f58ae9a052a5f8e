"""The error of a connection that is beyond use."""

from __future__ import annotations

import smtplib

from outbox.delivery.verdicts import Failure


class Broken(smtplib.SMTPServerDisconnected):
    """The connection failed, or what came over it cannot be trusted: it carries no further mail."""

    def __init__(self, failure: Failure, text: str) -> None:
        super().__init__(text)
        self.failure = failure
        self.text = text
