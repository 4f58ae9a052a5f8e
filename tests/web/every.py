"""Every page that a person can look at: of the outbox, of the reference application, of the local mailbox.

`OUTBOX`, `APPLICATION` and `MAILBOX` have an entry for each endpoint; `tests/web/test_every_page.py` fails for one that
is not named. `world()` serves them all, on a bad day. `python -m scripts.screenshots` takes the pictures.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from flask import Flask
from selenium.webdriver.chrome.webdriver import WebDriver
from sqlalchemy.orm import Session
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from app import create_app, db, models
from app.auth import mails
from app.extensions import mail
from devserver.faults import Fault, Faults
from devserver.mailbox import Mailbox
from devserver.pages import create_app as mailbox_pages
from outbox import operations
from outbox.delivery.states import State
from outbox.delivery.suppression import Why
from outbox.message import unsubscribe_link
from outbox.message.digest import digest
from outbox.message.unsubscribe_link import Unsubscribing
from outbox.models import OutboxBatch, OutboxDelivery, OutboxDigestItem, OutboxEffect, OutboxMessage, OutboxWorker
from outbox.operations.pauses import What
from outbox.settings.secret_keys import address_key, derived
from tests.app.browser import Visitor
from tests.web.chromium import until_another_page
from tests.web.seed import LONG_ADDRESS, Mail, meddle_with, refuse_sender, seed, worker, write
from tests.web.site import Site, serving, site

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "/admin/outbox"
PASSWORD = "correct horse battery"
CHIEF, ADA, NOBODY = "chief", "ada", ""
REPR = re.compile(
    r"\b(None|True|False)\b|\bdatetime\.|\w object at 0x|\bState\.[A-Z]|\('|',\)|\{'|\['|\b\w+\(\w+=|(?<!\w)''(?!\w)"
    r"|&(amp|lt|#)"
)
"""How Python, or HTML, writes values; none of it is for people."""


@dataclass(frozen=True)
class View:
    """One page as somebody sees it."""

    path: str  # with {recipient} for the number of a delivery
    name: str = ""  # of its picture, if not the endpoint's
    who: str = CHIEF
    press: str = ""  # a selector of what is pressed first


OUTBOX: dict[str, tuple[View, ...]] = {
    "suppressions": (
        View("/suppressions"),
        View("/suppressions?search=gone@example.org", "suppressions-why"),
        View("/suppressions?search=nobody", "suppressions-none"),
    ),
    "person": (
        View("/person"),
        View("/person?address=gone@example.org", "person-found", press="#look button"),
        View("/person?address=nobody@example.org", "person-none", press="#look button"),
    ),
    "ask_to_lift": (View("/suppressions/1/question", "suppressions-lift"),),
    "batches": (View("/batches"),),
    "ask_to_cancel_batch": (View("/batches/question?name=newsletter-7", "batch-cancel"),),
    "effects": (View("/effects"), View("/effects?name=shop.mails.note_bounce", "effects-of-one")),
    "ask_to_change_effects": (
        View("/effects/question?what=drop&name=shop.mails.note_bounce", "effects-drop"),
        View("/effects/question?what=run&id=1", "effects-run"),
        View("/effects/question?what=run&name=nobody", "effects-gone"),
    ),
    "overview": (View("/"),),
    "mails": (
        View("/mail"),
        View("/mail?state=failed&error=5.1.1&domain=gone.example.org", "mails-filtered"),
        View("/mail?waits=deferred&order=oldest", "mails-deferred"),
        View("/mail?waits=scheduled", "mails-scheduled"),
        View("/mail?state=failed&subject=nothing+like+it", "mails-none"),
        View("/mail?domain=ann@example.org&from=yesterday", "mails-wrong"),
        View("/mail?environment=*&subject=Orders", "mails-environments"),
    ),
    "mail": (
        View("/mail/{ann@example.org}?list=state%3Dfailed", "mail-failed"),
        View("/mail/{invoice@example.com}", "mail-uncertain"),
        View("/mail/{long@example.com}", "mail-deferred"),
        View("/mail/{later@example.com}", "mail-scheduled"),
        View("/mail/{carol@example.com}", "mail-sending"),
        View("/mail/{tanaka@example.jp}", "mail-sent"),
        View("/mail/{bob@example.net}", "mail-cancelled"),
        View("/mail/{kaputt@example.net}", "mail-hostile"),
        View("/mail/{secret@example.com}", "mail-redacted"),
        View("/mail/{elsewhere@example.com}", "mail-foreign"),
        View("/mail/{dora@example.com}", "mail-paused"),
        View("/mail/{shown@gone.example.org}", "mail-stopped"),
        View("/mail/{bcc@typo.example}", "mail-of-several"),
        View(f"/mail/{{{LONG_ADDRESS}}}", "mail-long"),
        View("/mail/{old@example.org}", "mail-wrong-recipient", press="#correct button"),
        View("/mail/999999", "mail-missing"),
    ),
    "source": (View("/mail/{kaputt@example.net}/source"),),
    "failures": (View("/failures"), View("/failures?window=1h", "failures-hour")),
    "kinds": (View("/kinds"),),
    "shape": (View("/backlog"),),
    "pauses": (View("/pauses"), View("/pauses?what=domain&value=gmail.com", "pauses-typed")),
    "ask_to_pause": (
        View("/pauses/question?what=all", "pause-all"),
        View("/pauses/question?what=domain&value=gone.example.org&for=1h", "pause-domain"),
        View("/pauses/question?what=message&value={long@example.com}", "pause-message"),
        View("/pauses/question?what=domain&value=a@b.example", "pause-wrong"),
    ),
    "workers": (View("/workers"),),
    "ask_to_end": (
        View("/workers/1/question?what=stop", "worker-stop"),
        View("/workers/1/question?what=drain", "worker-drain"),
    ),
    "history": (
        View("/history"),
        View("/history?action=pause", "history-filtered"),
        View("/history?by=nobody", "history-none"),
        View("/history?reads=1", "history-reads"),
    ),
    "ask_to_send_again": (
        View("/mail/{tanaka@example.jp}/again", "again"),
        View("/mail/{ann@example.org}/again", "again-not"),
    ),
    "confirm": (
        View("/confirm?action=requeue&scope=all&state=failed", "confirm-requeue"),
        View("/confirm?action=mark-sent&scope=all&state=uncertain", "confirm-mark-sent"),
        View("/confirm?action=cancel&id={ann@example.org}&id={dora@example.com}", "confirm-cancel"),
        View("/confirm?action=send-now&scope=all&state=queued", "confirm-send-now"),
        View("/confirm?action=requeue", "confirm-nothing"),
    ),
    "unknown": (View("/nowhere"), View("/nowhere", "refused", who=ADA)),
}
NO_PAGES = {
    "html": "the message's own HTML",
    "download": "a file",
    "one_attachment": "a file",
    "export": "a file",
    "slashed": "leads to the list",
}
"""What the outbox answers to GET, and no page of ours."""

APPLICATION: dict[str, tuple[View, ...]] = {
    "main.home": (View("/", who=NOBODY), View("/", "main.home-chief")),
    "main.account": (View("/account"), View("/account", "main.account-unconfirmed", who=ADA)),
    "auth.register": (
        View("/auth/register", who=NOBODY),
        View("/auth/register", "auth.register-wrong", who=NOBODY, press="form.card [type=submit]"),
    ),
    "auth.login": (
        View("/auth/login", who=NOBODY),
        View("/auth/login", "auth.login-wrong", who=NOBODY, press="form.card [type=submit]"),
        View("/account", "auth.login-asked", who=NOBODY),
    ),
    "auth.confirm": (View("/auth/confirm/spoilt", who=NOBODY), View("{confirm}", "auth.confirm-login", who=NOBODY)),
    "auth.ask_for_reset": (View("/auth/reset", who=NOBODY),),
    "auth.reset": (View("{reset}", who=NOBODY), View("/auth/reset/spoilt", "auth.reset-spoilt", who=NOBODY)),
    "auth.change_password": (
        View("/auth/change-password"),
        View("/auth/change-password", "auth.change_password-wrong", press="form.card [type=submit]"),
    ),
    "auth.ask_to_change_email": (
        View("/auth/change-email"),
        View("/auth/change-email", "auth.ask_to_change_email-wrong", press="form.card [type=submit]"),
    ),
    "auth.change_email": (View("/auth/change-email/spoilt"),),
    "outbox_previews.index": (View("/admin/previews/", "previews", who=NOBODY),),
    "outbox_previews.sample": (
        View("/admin/previews/confirm/long-name-and-address", "previews-sample"),
        View("/admin/previews/confirm/nothing", "previews-missing"),
    ),
    "outbox_previews.html": (),
    "outbox_previews.source": (),
    "outbox_previews.download": (),
    "outbox_previews.changes": (),
    "outbox_unsubscribe.page": (
        View("/unsubscribe/{token}", "unsubscribe", who=NOBODY),
        View("/unsubscribe/{token}", "unsubscribe-done", who=NOBODY, press="button"),
        View("/unsubscribe/{token}", "unsubscribe-saved", who=NOBODY, press=".lists button"),
        View("/unsubscribe/{token}", "unsubscribe-all", who=NOBODY, press="button[value=all]"),
        View("/unsubscribe/{token}", "unsubscribe-off", who=NOBODY),
        View("/unsubscribe/{token}", "unsubscribe-back", who=NOBODY, press="button"),
        View("/unsubscribe/spoilt", "unsubscribe-unknown", who=NOBODY),
    ),
    "": (View("/nowhere", "app-404", who=NOBODY), View("/auth/logout", "app-405")),
}

MAILBOX: dict[str, tuple[View, ...]] = {
    "index": (View("/"), View("/?q=nothing+like+it", "index-none")),
    "mail": (View("/mail/{reset_password}"),),
    "html": (),  # one for each message of the application: `World.messages`
    "raw": (),
    "attachment": (),
}


@dataclass
class World:
    """The three sites, served, with mail, people and pauses in them."""

    app: Site
    mailbox: Flask
    box: Mailbox
    mailbox_url: str
    messages: dict[str, str]  # the application's mail: template → its name in the mailbox
    ids: dict[str, int]
    broken: Site  # the pages on a database that was never migrated
    links: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> str:
        return self.app.url.removesuffix(PREFIX)

    def address(self, base: str, view: View) -> str:
        """The whole address of `view`."""
        path = view.path
        for name, value in (*self.ids.items(), *self.links.items(), *self.messages.items()):
            path = path.replace(f"{{{name}}}", str(value))
        return base + path

    def views(self) -> Iterator[tuple[str, str, View]]:
        """The name of each view, its address, and itself."""
        for endpoint, views in OUTBOX.items():
            yield from (("outbox-" + (one.name or endpoint), self.address(self.app.url, one), one) for one in views)
        yield "outbox-unmigrated", f"{self.broken.url}/", View("/")
        for endpoint, views in APPLICATION.items():
            yield from (("app-" + (one.name or endpoint), self.address(self.root, one), one) for one in views)
        for endpoint, views in MAILBOX.items():
            yield from (
                ("mailbox-" + (one.name or endpoint), self.address(self.mailbox_url, one), one) for one in views
            )

    def show(self, browser: WebDriver, template: str) -> None:
        """Look at a message of the application as a mail program would; script may look at it, too."""
        browser.get("about:blank")
        frame = browser.execute_cdp_cmd("Page.getFrameTree", {})["frameTree"]["frame"]["id"]
        arrived = self.box.get(self.messages[template])
        assert arrived is not None
        browser.execute_cdp_cmd("Page.setDocumentContent", {"frameId": frame, "html": arrived.html or ""})

    def read(self, address: str, view: View) -> TestResponse:
        """The page without a browser, redirects followed."""
        sites = {
            self.root: self.app.app,
            self.mailbox_url: self.mailbox,
            self.broken.url[: -len(PREFIX)]: self.broken.app,
        }
        base = next(base for base in sites if address.startswith(base))
        client = sites[base].test_client()
        if cookie := self.cookies.get(view.who):
            client.set_cookie(str(self.app.app.config["SESSION_COOKIE_NAME"]), cookie)
        return client.get(address.removeprefix(base), follow_redirects=True)

    def open(self, browser: WebDriver, address: str, view: View) -> None:
        """Look at `view` in the browser, as the one who may."""
        browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
        if cookie := self.cookies.get(view.who):
            name = str(self.app.app.config["SESSION_COOKIE_NAME"])
            browser.execute_cdp_cmd("Network.setCookie", {"name": name, "value": cookie, "url": self.root})
        for _ in range(3):  # beside others, Chromium now and then asks for nothing and shows an empty document
            browser.get(address)
            if browser.find_elements("css selector", "body > *"):
                break
        if view.press:
            root = browser.find_element("css selector", "html")
            browser.execute_script("document.querySelectorAll('details').forEach(one => { one.open = true })")
            browser.execute_script("document.querySelector(arguments[0]).click()", view.press)
            until_another_page(browser, root)


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """All of it, in `folder`."""
    app, url = _application(folder)
    engine = sa.create_engine(url)
    ids = seed(engine)
    with engine.begin() as connection:
        bad_day(connection, ids)
    engine.dispose()
    box = Mailbox(folder / "mailbox")
    with ExitStack() as stack:
        served = stack.enter_context(serving(Site(app)))
        app.config["FLASKY_BASE_URL"] = served.url.removesuffix(PREFIX)
        broken = stack.enter_context(serving(site(f"sqlite:///{folder / 'empty.sqlite3'}")))
        messages, links = _write_mail(app, box)
        faults = Faults(folder / "faults")
        faults.set("backup", Fault.CUT)
        mailbox = mailbox_pages(box, served.url.removesuffix(PREFIX), {"main": 2525, "backup": 2526}, faults)
        mailbox_url = stack.enter_context(_served(mailbox))
        app.config["FLASKY_MAILBOX_URL"] = mailbox_url
        made = World(served, mailbox, box, mailbox_url, messages, ids, broken, links)
        made.cookies = {who: _log_in(app, who) for who in (CHIEF, ADA)}
        yield made
        app.extensions["database"].engine.dispose()


def bad_day(connection: sa.Connection, ids: dict[str, int]) -> None:
    """What goes wrong and what people do about it, so that each state of a page is there to be seen."""
    now = datetime.now(UTC)
    message, delivery, workers = (one.__table__ for one in (OutboxMessage, OutboxDelivery, OutboxWorker))
    more = [
        Mail({"later@example.com": State.QUEUED}, subject="Your trial ends tomorrow", kind="reminder", ago=900),
        Mail({"secret@example.com": State.SENT}, subject="Confirm your account", kind="confirm", redacted=True),
        Mail({"elsewhere@example.com": State.QUEUED}, subject="Orders of the day", kind="report"),
        Mail({"shown@gone.example.org": State.QUEUED}, subject="News from Flasky, November", kind="newsletter"),
        Mail({"held@example.com": State.SENT}, subject="Kept back by MAIL_SUPPRESS_SEND", reason="suppressed"),
    ]
    for one in more:
        ids |= dict(zip(one.recipients, write(connection, one), strict=True))
    due = sa.update(delivery).where(delivery.c.id == ids["later@example.com"])
    connection.execute(due.values(due_at=now + timedelta(hours=20)))

    def of(recipient: str) -> sa.ColumnElement[bool]:
        return message.c.id == sa.select(delivery.c.message_id).where(delivery.c.id == ids[recipient]).scalar_subquery()

    metadata = {"order": 1147, "customer": "C-4711", "tags": ["trial", "eu"], "paid": True, "coupon": None}
    connection.execute(sa.update(message).where(of("later@example.com")).values(metadata=metadata))
    connection.execute(sa.update(message).where(of("elsewhere@example.com")).values(environment="staging"))
    meddle_with(connection, ids)
    ids["bob@example.net"] = ids["bob@example.com"]
    hidden = operations.suppressions
    for address, scope, why in (
        ("gone@example.org", "all", Why.BOUNCED),
        (LONG_ADDRESS, "category:subscription", Why.COMPLAINED),
        ("ann@example.org", "kind:newsletter", Why.MANUAL),
    ):
        note = "550 5.1.1 The email account that you tried to reach does not exist."
        hidden.suppress(connection, address, scope, by="report", address_key=address_key(None), reason=why, note=note)
    at = {"environment": "", "created_at": now - timedelta(hours=2)}
    for number, (name, state, size) in enumerate([("newsletter-6", "filled", 5), ("newsletter-7", "filling", 3)], 1):
        made = {"id": number, "name": name, "state": state, "kind": "newsletter", "messages": size, "deliveries": size}
        connection.execute(sa.insert(OutboxBatch).values(**at, **made, refused=number - 1, expected=8))
    connection.execute(sa.update(delivery).where(delivery.c.id == ids["shown@gone.example.org"]).values(batch_id=2))
    error = 'OperationalError: (psycopg.OperationalError) connection to server at "db" failed: Connection refused'
    for number, (name, due, said) in enumerate(
        [
            ("shop.mails.note_bounce", None, error),
            ("shop.mails.note_bounce", now + timedelta(hours=1), error),
            ("webhook https://hooks.example.org/outbox", now, None),
        ]
    ):
        values = {
            "name": name,
            "type": "bounced",
            "effect_key": f"seeded-{number}",
            "delivery_id": ids["ann@example.org"],
        }
        values |= {"due_at": due, "attempts": 10 if due is None else 1, "error": said}
        connection.execute(sa.insert(OutboxEffect).values(**values, **at))
    for name, due, said in (("comments", now + timedelta(minutes=9), None), ("orders.weekly", None, error)):
        held = {"name": name, "recipient": "gone@example.org", "digest": digest("gone@example.org", address_key(None))}
        held |= {"due_at": due, "attempts": 0 if due else 10, "error": said, "item": [{"post": 1}]}
        connection.execute(sa.insert(OutboxDigestItem).values(**held, **at))
    why = "of the first 20 deliveries 4 were refused, 1 deferred, 0 bounced: more than 10 %"
    operations.pauses.pause(connection, What.BATCH, "newsletter-6", by="canary", reason=why, environment="")
    operations.pauses.pause(connection, What.MESSAGE, str(ids["dora@example.com"]), by="chief@example.org", seconds=900)
    refuse_sender(connection)
    down = worker(connection, error="Connection refused. Check that it runs.")
    connection.execute(
        sa.update(workers).where(workers.c.id == down).values(host="a-mail-host.with-a-long-name", pid=12)
    )
    dead = worker(connection, heartbeat_ago=900.0)
    connection.execute(sa.update(workers).where(workers.c.id == dead).values(host="mail-3", pid=77))


def _application(folder: Path) -> tuple[Flask, str]:
    url = f"sqlite:///{folder / 'app.sqlite3'}"
    config = Config(ROOT / "alembic.ini")
    config.set_main_option("sqlalchemy.url", url)
    command.upgrade(config, "head")
    settings = {"SECRET_KEY": "for tests", "DATABASE_URL": url, "APP_ENV": "development"}
    app = create_app(settings, environ={"FLASKY_ADMIN": "chief@example.org"}, instance_path=str(folder / "instance"))
    engine = sa.create_engine(url)
    with Session(engine) as session, session.begin():
        for name in (CHIEF, ADA):
            user = models.User(email=f"{name}@example.org", username=name, password=PASSWORD, confirmed=name == CHIEF)
            user.is_admin = name == CHIEF
            session.add(user)
    engine.dispose()
    return app, url


def _write_mail(app: Flask, box: Mailbox) -> tuple[dict[str, str], dict[str, str]]:
    """Each message that the application sends, as it would leave, and the links in two of them; none is queued."""
    messages: dict[str, str] = {}
    links: dict[str, str] = {}
    with app.test_request_context("/", base_url=app.config["FLASKY_BASE_URL"]):
        ada = models.by_email(db.session, "ada@example.org")
        assert ada is not None
        for name, write_one in {
            "confirm": lambda: mails.confirm(ada),
            "new_user": lambda: mails.new_user(ada),
            "already_registered": lambda: mails.already_registered(ada),
            "reset_password": lambda: mails.reset_password(ada),
            "password_changed": lambda: mails.password_changed(ada),
            "change_email": lambda: mails.change_email(ada, "ada.lovelace@example.com"),
            "change_email_notice": lambda: mails.change_email_notice(ada, "ada.lovelace@example.com"),
            "email_changed": lambda: mails.email_changed(ada, "ada@example.net"),
        }.items():
            write_one()
            db.session.flush()
            newest = db.session.scalars(sa.select(OutboxDelivery).order_by(OutboxDelivery.id.desc()).limit(1)).one()
            raw = operations.wire(db.session.connection(), newest.message_id, newest.recipient)
            messages[name] = box.add("flasky@example.com", [newest.recipient], raw, "main")
            if found := re.search(r"/auth/(confirm|reset)/\S+", box.get(messages[name]).text or ""):
                links.setdefault(found[1], found[0])
        db.session.rollback()
        wanted = Unsubscribing(LONG_ADDRESS, "kind:news")
        links["token"] = unsubscribe_link.token(wanted, derived(mail.settings(), unsubscribe_link.PURPOSE)[0])
    return messages, links


@contextmanager
def _served(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _log_in(app: Flask, who: str) -> str:
    """The cookie of a log-in."""
    client = app.test_client()
    Visitor(client).submit("/auth/login", email=f"{who}@example.org", password=PASSWORD)
    cookie = client.get_cookie(app.config["SESSION_COOKIE_NAME"])
    assert cookie is not None
    return cookie.value
