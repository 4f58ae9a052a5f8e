"""What an application hands in comes out as with Flask-Mail, or is refused or differs as docs/moving.md says.

Each input goes through real Flask-Mail to an SMTP server, and through the outbox into its tables; what a reader makes
of the two is compared value by value: `reading.py`. A new difference fails here until it is repaired or documented.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import flask_mail
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

import outbox
from outbox.core.errors import ConfigurationError, MessageError
from outbox.models import Base
from tests.flask.comparison import messages, people
from tests.flask.comparison.outcomes import Outcome, Row
from tests.flask.comparison.reading import Sense
from tests.flask.comparison.running import Input, by_flask_mail, by_outbox
from tests.wire.server import SmtpServer

ROWS: list[Row] = [
    *(messages.SUBJECTS + messages.TEXTS + messages.ATTACHMENTS),
    *(people.ADDRESSES + people.LISTS + people.SENDERS + people.HEADERS + people.CONFIGURATIONS),
]
MOVING = (Path(__file__).resolve().parents[3] / "docs" / "moving.md").read_text()
FEWER_FAULTS = sys.version_info >= (3, 13)
"""Python's own `email`, by which Flask-Mail sends, has lost some since: what differed by one may be the same there, or
be sent. It refuses lazy strings, on the other hand, which we still take."""
USUAL: Sense = {
    "mail_from": "shop@example.com",
    "recipients": ["ann@example.org"],
    "from": [("", "shop@example.com")],
    "to": [("", "ann@example.org")],
    "cc": [],
    "reply_to": [],
    "subject": "Subject",
    "date": "now",
    "message_id": [],
    "headers": [],
    "text": "Text",
    "html": "",
    "alternatives": [],
    "attachments": [],
}


@pytest.fixture(scope="module")
def server() -> Iterator[SmtpServer]:
    """Takes what Flask-Mail sends."""
    with SmtpServer() as made:
        yield made


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """For what the outbox writes; every test rolls back."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as made:
        yield made
    engine.dispose()


@pytest.mark.parametrize("row", ROWS, ids=[row.given.name for row in ROWS])
def test_an_input(row: Row, server: SmtpServer, session: Session) -> None:
    """The same in sense, or what the table says, with Flask-Mail's own class of messages and with ours."""
    theirs = _attempt(lambda: by_flask_mail(row.given, server), Exception)
    for message_class, outcome in ((flask_mail.Message, row.outcome), (outbox.Message, row.own)):
        ours = _by_outbox(row.given, session, message_class)
        _assert_is(outcome, _with_what_smtplib_loses(outcome, theirs, ours), ours)


def test_the_table_is_large_and_names_each_input_once() -> None:
    """At least 200 inputs."""
    names = [row.given.name for row in ROWS]
    assert len(names) >= 200
    assert len(set(names)) == len(names)


def test_each_difference_is_documented() -> None:
    """In bold words of docs/moving.md; and what is documented there has an input that shows it."""
    sentences = {outcome.sentence for row in ROWS for outcome in (row.outcome, row.own) if outcome.sentence}
    documented = re.findall(r"^- \*\*(.+?)\*\*", _section("Refused") + _section("Sent, but not the same"), re.MULTILINE)
    assert sentences == set(documented)


def _with_what_smtplib_loses(outcome: Outcome, theirs: Sense | None, ours: Sense | None) -> Sense | None:
    """With ours for each empty address of the envelope, unless the row names it.

    That is what `email.utils.parseaddr` makes of odd ones in releases of Python that are strict.
    """
    if theirs is None or ours is None:
        return theirs
    empty = {"mail_from": theirs["mail_from"] == "", "recipients": "" in theirs["recipients"]}
    return theirs | {
        aspect: ours[aspect] for aspect, is_empty in empty.items() if is_empty and aspect not in outcome.values
    }


def _by_outbox(given: Input, session: Session, message_class: type[flask_mail.Message]) -> Sense | None:
    return _attempt(lambda: by_outbox(given, session, message_class), (MessageError, ConfigurationError))


def _assert_is(outcome: Outcome, theirs: Sense | None, ours: Sense | None) -> None:
    match outcome.kind:
        case "same":
            assert ours == theirs or (FEWER_FAULTS and ours is not None and theirs is None)
        case "refused":
            assert ours is None
            assert theirs is not None
        case "differs":
            assert theirs is not None
            assert ours == theirs | outcome.values
            assert FEWER_FAULTS or all(theirs[aspect] != value for aspect, value in outcome.values.items())
        case "sends":
            assert theirs is None or FEWER_FAULTS
            assert ours == USUAL | outcome.values


def _attempt(send: Callable[[], Sense], errors: type[Exception] | tuple[type[Exception], ...]) -> Sense | None:
    """What was sent, None for an error or for nothing."""
    try:
        return send() or None
    except errors:
        return None


def _section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", MOVING, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]
