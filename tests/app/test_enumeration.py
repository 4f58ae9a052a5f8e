"""Nobody learns from the pages who has an account, and nobody's mailbox is filled by them.

Work is compared, not time: password hashes, statements and enqueued messages of a request.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import event

from app import models
from app.extensions import mail
from outbox.testing import Mailbox
from tests.app.browser import PASSWORD, Visitor, without_tokens
from tests.app.conftest import link_in

KNOWN, UNKNOWN = "ada@example.org", "eva@example.org"


@pytest.fixture(autouse=True)
def _ada(add_user: Callable[..., int]) -> None:
    add_user()


@pytest.fixture
def work(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """What was done since it was cleared."""
    done: Counter[str] = Counter()

    def counted(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def inner(*args: object, **kwargs: object) -> object:
            done[name] += 1
            return call(*args, **kwargs)

        return inner

    monkeypatch.setattr(models, "check_password_hash", counted("hash", models.check_password_hash))
    monkeypatch.setattr(models, "generate_password_hash", counted("hash", models.generate_password_hash))
    monkeypatch.setattr(type(mail), "enqueue", counted("enqueue", type(mail).enqueue))

    def statement(connection: object, cursor: object, text: str, *more: object) -> None:
        words = text.split()
        kind = words[0].upper() if words[0].upper() in {"INSERT", "UPDATE", "DELETE", "SELECT", "SAVEPOINT"} else "end"
        done["end" if kind == "end" else f"{kind} {_table(text)}"] += 1

    engine = app.extensions["database"].engine
    event.listen(engine, "before_cursor_execute", statement)
    event.listen(engine, "commit", lambda connection: done.update(["commit"]))
    yield done
    event.remove(engine, "before_cursor_execute", statement)


def _table(text: str) -> str:
    found = re.search(r"(?:INTO|FROM|UPDATE)\s+(\w+)", text)
    return found[1] if found else ""


def _measured(work: Counter[str], act: Callable[[], str]) -> tuple[str, dict[str, int]]:
    act_page = None
    work.clear()
    act_page = act()
    return act_page, dict(work)


ACTS: dict[str, Callable[[Visitor, str], str]] = {
    "log in": lambda visitor, email: visitor.log_in(email, "not the password").text,
    "reset": lambda visitor, email: visitor.submit("/auth/reset", email=email).text,
    "register": lambda visitor, email: visitor.register(email, _name()).text,
}
_NAMES = iter(f"name{number}" for number in range(10_000))


def _name() -> str:
    return next(_NAMES)


@pytest.mark.parametrize("act", ACTS)
def test_a_known_and_an_unknown_address_cost_the_same(app: Flask, work: Counter[str], act: str) -> None:
    """The same page and the same work for both, the first time, and again and again."""
    pages: dict[str, list[str]] = {KNOWN: [], UNKNOWN: []}
    costs: dict[str, list[dict[str, int]]] = {KNOWN: [], UNKNOWN: []}
    for email in (KNOWN, UNKNOWN):
        for _ in range(3):
            page, cost = _measured(work, lambda email=email: ACTS[act](Visitor(app.test_client()), email))  # type: ignore[misc]
            pages[email].append(without_tokens(page).replace(email, ""))
            costs[email].append(cost)
    assert costs[KNOWN] == costs[UNKNOWN]
    assert pages[KNOWN] == pages[UNKNOWN]


def test_the_work_that_is_compared_is_seen(app: Flask, work: Counter[str]) -> None:
    """The counters count: one hash for a log-in, one message for a reset, a user for a registration."""
    visitor = Visitor(app.test_client())
    assert _measured(work, lambda: ACTS["log in"](visitor, UNKNOWN))[1]["hash"] == 1
    assert _measured(work, lambda: ACTS["reset"](visitor, UNKNOWN))[1]["enqueue"] == 1
    cost = _measured(work, lambda: ACTS["register"](visitor, UNKNOWN))[1]
    assert (cost["hash"], cost["INSERT users"], cost["commit"]) == (1, 1, 1)


def test_a_user_name_tells_nothing_about_an_address(visitor: Visitor, app: Flask) -> None:
    """A name that was given with an address is taken afterwards, whether the address had an account or not."""
    for email, name in ((KNOWN, "first"), (UNKNOWN, "second")):
        visitor.register(email, name)
        page = visitor.register("mine@example.org", name.upper())
        assert "This user name is taken." in page.text, email
    with sa.orm.Session(app.extensions["database"].engine) as session:
        assert sorted(session.scalars(sa.select(models.User.email))) == [KNOWN, UNKNOWN]


@pytest.mark.parametrize("act", ["reset", "register"])
@pytest.mark.parametrize("email", [KNOWN, KNOWN.upper()])
def test_fifty_requests_are_three_mails(
    app: Flask, mailbox: Mailbox, act: str, email: str, later: Callable[[], None]
) -> None:
    """An address gets three, however often somebody gives it; when an hour is over, the next. All answers are alike."""
    visitor = Visitor(app.test_client())
    pages = set()
    for _ in range(50):
        pages.add(without_tokens(ACTS[act](visitor, email)))
    assert [mail.recipients for mail in mailbox] == [(KNOWN,)] * 3
    assert len(pages) == 1
    later()
    ACTS[act](visitor, email)
    assert len(mailbox) == 4


def test_the_newest_of_three_links_works(app: Flask, mailbox: Mailbox) -> None:
    """Whoever was turned away uses the last that came."""
    visitor = Visitor(app.test_client())
    for _ in range(5):
        ACTS["reset"](visitor, KNOWN)
    newest = list(mailbox)[-1]
    assert len(mailbox) == 3
    page = visitor.submit(link_in(newest), password="another good password", password2="another good password")
    assert "Your password was changed" in page.text


def test_an_unknown_address_gets_no_reset(app: Flask, mailbox: Mailbox) -> None:
    """What was written for the sake of the same work is taken back."""
    ACTS["reset"](Visitor(app.test_client()), UNKNOWN)
    assert not mailbox


def test_who_is_logged_in_fills_no_mailbox_either(app: Flask, mailbox: Mailbox, later: Callable[[], None]) -> None:
    """Links to a new address, notices to the present one and confirmations: each address gets few."""
    for number in range(6):
        visitor = Visitor(app.test_client())
        visitor.register(f"user{number}@example.net", f"user{number}")
        visitor.log_in(f"user{number}@example.net")
        for _ in range(5):
            visitor.submit("/auth/change-email", email="victim@example.org", password=PASSWORD)
            visitor.press("/account", "/auth/confirm")
    found = Counter((mail.recipients[0], mail.kind) for mail in mailbox if mail.kind != "new-user")
    assert found.pop(("victim@example.org", "change-email")) == 3
    assert found.pop(("user0@example.net", "confirm")) == 3
    assert set(found.values()) == {3}


def test_a_strangers_password_changes_fill_no_mailbox(
    app: Flask, mailbox: Mailbox, user_of: Callable[[str], models.User]
) -> None:
    """Of an account whose address is not confirmed, few; of a confirmed one, each: its owner must know."""
    for email, name, count in ((UNKNOWN, "eva", 3), (KNOWN, "ada", 5)):
        mailbox.clear()
        visitor = Visitor(app.test_client())
        if email == UNKNOWN:
            visitor.register(email, name)
        visitor.log_in(email)
        present = PASSWORD
        for number in range(5):
            new = f"the next password, {number}"
            visitor.submit("/auth/change-password", old_password=present, password=new, password2=new)
            present = new
        assert sum(mail.subject == "[Flasky] Your password was changed" for mail in mailbox) == count


@pytest.mark.parametrize(
    ("password", "good"),
    [
        ("correct horse battery", True),
        ("zq8#Lw0!pf", True),
        ("short", False),
        ("x" * 129, False),
        ("password123", False),
        ("12345678", False),
        ("qwertyuiop", False),
        ("Passw0rd!", False),
        ("aaaaaaaaaaaaaaaa", False),
        ("iloveyou1", False),
        ("countess_lovelace", False),  # the name
        ("lovelace.ada@example.org", False),  # the address
        ("Flasky2026", False),  # the site
    ],
)
def test_passwords(visitor: Visitor, app: Flask, password: str, good: bool) -> None:
    """Eight characters or more, not a common one, and not what everybody knows about the account."""
    page = visitor.register("lovelace.ada@example.org", "countess_lovelace", password=password, password2=password)
    with sa.orm.Session(app.extensions["database"].engine) as session:
        assert (models.by_username(session, "countess_lovelace") is not None) is good
    assert good or "easy to guess" in page.text or "8 to 128 characters" in page.text


def test_a_new_password_is_looked_at_the_same_way(visitor: Visitor) -> None:
    """A change of password, too, takes no common one."""
    visitor.log_in(KNOWN)
    page = visitor.submit("/auth/change-password", old_password=PASSWORD, password="iloveyou1", password2="iloveyou1")
    assert "easy to guess" in page.text
