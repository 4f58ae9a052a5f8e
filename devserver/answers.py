"""What recipients and their servers answer: bounces, complaints, unsubscriptions, each by the way it really takes."""

from __future__ import annotations

import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from email.mime.base import MIMEBase
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime
from enum import StrEnum

from devserver import HOST
from devserver.mailbox import Arrived
from devserver.settings import ROOT
from devserver.supervisor import python

SECONDS = 30.0
_OURS = ("Return-Path", "X-Taken-By", "Delivered-To")
_LINK = re.compile(r"<(https?://[^<>\s]+)>")
_SERVER = "Mail Delivery System <postmaster@localhost>"


class Answer(StrEnum):
    """What a button stands for."""

    BOUNCE = "bounce"
    COMPLAIN = "complain"
    UNSUBSCRIBE = "unsubscribe"


LABELS = {
    Answer.BOUNCE: ("Bounce", "The recipient's server returns it: 5.1.1, no such user."),
    Answer.COMPLAIN: ("Complain", "The recipient calls it spam, and their provider reports that."),
    Answer.UNSUBSCRIBE: ("Unsubscribe", "The recipient's mail program posts to the link in List-Unsubscribe."),
}

Take = Callable[[bytes, str], str]
"""Hands a report to the application: the mail, the address that it comes to; returns what became of it."""


@dataclass(frozen=True)
class Answers:
    """To mail of the application at `application_url`."""

    application_url: str
    take: Take

    def possible(self, mail: Arrived) -> list[Answer]:
        """Those that this mail allows."""
        found = [Answer.BOUNCE, Answer.COMPLAIN] if _return_path(mail) else []
        return found + ([Answer.UNSUBSCRIBE] if self._link(mail) else [])

    def give(self, answer: Answer, mail: Arrived) -> str:
        """Do it; what became of it, for people."""
        if answer is Answer.UNSUBSCRIBE:
            return unsubscribe(self._link(mail) or "")
        report = bounce(mail) if answer is Answer.BOUNCE else complaint(mail)
        return self.take(report, _return_path(mail))

    def _link(self, mail: Arrived) -> str | None:
        """The one that leads to the application: a mail is untrusted, and nothing is posted elsewhere."""
        links = _LINK.findall(str(mail.message.get("List-Unsubscribe", "")))
        return next((one for one in links if one.startswith(f"{self.application_url}/")), None)


def bounce(mail: Arrived) -> bytes:
    """A delivery status notification (RFC 3464): none of its recipients exists."""
    report = _report(mail, "delivery-status", "Undelivered Mail Returned to Sender", _SERVER)
    report.attach(MIMEText("This mail could not be delivered. Its recipients are unknown here.\n"))
    status = MIMEBase("message", "delivery-status")
    status.set_payload(
        [_fields(("Reporting-MTA", f"dns; {HOST}"), ("Arrival-Date", format_datetime(mail.at)))]
        + [
            _fields(
                ("Final-Recipient", f"rfc822; {recipient}"),
                ("Action", "failed"),
                ("Status", "5.1.1"),
                ("Diagnostic-Code", f"smtp; 550 5.1.1 <{recipient}> no such user"),
            )
            for recipient in mail.recipients
        ]
    )
    report.attach(status)
    header = "".join(f"{name}: {value}\n" for name, value in _original(mail).items())
    report.attach(MIMEText(header, "rfc822-headers", "utf-8"))
    return report.as_bytes()


def complaint(mail: Arrived) -> bytes:
    """An abuse report (RFC 5965), as providers send when a recipient marks mail as spam."""
    report = _report(mail, "feedback-report", f"Complaint: {mail.subject}", "Feedback <feedback@localhost>")
    report.attach(MIMEText("A recipient of this mail has called it spam.\n"))
    feedback = MIMEBase("message", "feedback-report")
    feedback.set_payload(
        [
            _fields(
                ("Feedback-Type", "abuse"),
                ("User-Agent", "devserver"),
                ("Version", "1"),
                ("Original-Mail-From", f"<{_return_path(mail)}>"),
                ("Arrival-Date", format_datetime(mail.at)),
                ("Original-Rcpt-To", mail.recipients[0]),  # one person complains
            )
        ]
    )
    report.attach(feedback)
    report.attach(MIMEMessage(_original(mail)))
    return report.as_bytes()


def unsubscribe(link: str) -> str:
    """Post as RFC 8058 has it."""
    request = urllib.request.Request(link, b"List-Unsubscribe=One-Click")  # noqa: S310 - http, as `_link` found it
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=SECONDS) as response:
            return f"Unsubscribed: the application answered {response.status}."
    except urllib.error.HTTPError as error:
        return f"Not unsubscribed: the application answered {error.code}."
    except OSError as error:
        return f"Not unsubscribed: the application does not answer ({error})."


def by_command(report: bytes, to: str) -> str:
    """By the command that a mail server would pipe it to."""
    done = subprocess.run(
        python("manage.py", "outbox-bounce", to), input=report, cwd=ROOT, capture_output=True, timeout=SECONDS
    )
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    return said if done.returncode == 0 else f"outbox-bounce ended with exit code {done.returncode}. {said[-500:]}"


def _report(mail: Arrived, type: str, subject: str, sender: str) -> MIMEMultipart:
    report = MIMEMultipart("report", **{"report-type": type})
    report["From"] = sender
    report["To"] = _return_path(mail)
    report["Subject"] = " ".join(subject.split())
    report["Date"] = format_datetime(mail.at)
    report["Message-ID"] = f"<{type}.{mail.name}@localhost>"  # a second press makes the same report
    return report


def _fields(*fields: tuple[str, str]) -> Message:
    block = Message()
    for name, value in fields:
        block[name] = value
    return block


def _original(mail: Arrived) -> Message:
    """As the relay got it, without what it wrote on top."""
    message = message_from_bytes(mail.raw)
    for name in _OURS:
        del message[name]
    return message


def _return_path(mail: Arrived) -> str:
    return str(mail.message.get("Return-Path", "")).strip().strip("<>")
