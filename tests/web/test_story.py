"""From "I got no mail" to the mail: an operator at a real browser, a real worker, a real SMTP server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask_mail import Message
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.keys import Keys

from outbox.delivery.states import State
from tests.servers.databases import Database
from tests.story.stage import Stage
from tests.web.site import Site, serving, site
from tests.web.test_pages import click, complaints, count, css, texts, until
from tests.wire.server import Client, SmtpServer

SCRIPT = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
HTML = "<h1 style='color: rgb(1, 2, 3)'>Dear Ann</h1><p>here is your ticket.</p>"
GROUP = 1_000


@dataclass
class Stand:
    """Everything between an application that sends and a person who asks where it went."""

    database: Database
    pages: Site
    server: SmtpServer
    stage: Stage
    refuses: dict[str, str]  # domain → the server's reply

    def send(self, subject: str, *recipients: str, body: str = "Text\n", html: str | None = None) -> None:
        """One mail to each of the recipients, as an application sends them."""
        with self.stage.transaction() as session:
            for to in recipients:
                self.stage.outbox.send(Message(subject, recipients=[to], body=body, html=html))
            session.commit()

    def settled(self, limit: float = 60.0) -> None:
        self.stage.settle(limit)


@pytest.fixture
def stand(tmp_path: Path, sqlite_database: Database) -> Iterator[Stand]:
    """An application, its pages, a worker in a process of its own, and a server that refuses some domains."""
    refuses: dict[str, str] = {}

    def rcpt(client: Client) -> str | None:
        return next((reply for domain, reply in refuses.items() if f"@{domain}>" in client.line), None)

    with (
        SmtpServer({"rcpt": rcpt}) as server,
        serving(site(sqlite_database.url)) as pages,
        Stage(sqlite_database, server.port, tmp_path) as stage,
    ):
        stage.start()
        yield Stand(sqlite_database, pages, server, stage, refuses)


def test_a_mistyped_address(browser: WebDriver, stand: Stand) -> None:
    """Find the failed mail of one recipient, read why, look at its HTML, correct the address, see it sent."""
    stand.refuses["exmaple.org"] = "550 5.1.1 <ann@exmaple.org>: no such user here"
    stand.send("Your ticket", "ann@exmaple.org", html=HTML)
    stand.send("Your ticket", "bob@example.org")
    stand.settled()

    browser.get(stand.pages.url + "/")
    css(browser, "#find").send_keys("ann@exmaple.org", Keys.ENTER)
    until(browser, lambda: browser.title.startswith("All mail"))
    assert texts(browser, "tbody .c-state") == ["failed"]
    click(browser, "tbody .c-subject a")
    assert "550 5.1.1 <ann@exmaple.org>: no such user here" in css(browser, "#h-state ~ .reply").text
    browser.switch_to.frame(css(browser, "iframe"))
    assert css(browser, "h1").text == "Dear Ann"
    assert css(browser, "h1").value_of_css_property("color") == "rgba(1, 2, 3, 1)"
    browser.switch_to.default_content()

    css(browser, "#correct summary").click()
    css(browser, "#f-recipient").clear()
    css(browser, "#f-recipient").send_keys("ann@example.org")
    css(browser, "#f-note").send_keys("mistyped, she rang")
    click(browser, "#correct button")
    assert "This message is addressed to ann@example.org, queued" in css(browser, "[role=status]").text
    stand.settled()
    browser.refresh()
    assert css(browser, ".title .state").text == "sent"
    assert texts(browser, ".timeline .attempt .state") == ["permanent", "accepted"]
    assert texts(browser, ".timeline .event .state") == ["bounced"]
    assert "mistyped, she rang" in css(browser, "#steps").text
    assert complaints(browser) == []

    mails = {mail.rcpt: mail.content for mail in stand.server.wait_for(2)}
    assert set(mails) == {"bob@example.org", "ann@example.org"}
    assert b"\r\nTo: ann@example.org\r\n" in mails["ann@example.org"]
    assert b"exmaple" not in mails["ann@example.org"]


def test_a_group_of_a_thousand(browser: WebDriver, stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A domain refused 1,000 mails; when that is repaired they are requeued in two clicks, and arrive once each."""
    monkeypatch.setattr("outbox.web.actions.LOOK_SECONDS", 30.0)  # a busy machine must not run out of time
    stand.refuses["big.example"] = "550 5.7.1 your address is listed"
    stand.send("News", *(f"user{number}@big.example" for number in range(GROUP)))
    stand.send("News", "other@example.org")
    stand.settled(120)
    assert count(stand.database, states=(State.FAILED,)) == GROUP

    browser.get(f"{stand.pages.url}/failures")
    assert texts(browser, "tbody .number") == ["1,000 ×"]
    assert texts(browser, "tbody .domain") == ["big.example"]
    stand.refuses.clear()
    click(browser, "tbody button[value=requeue]")
    assert css(browser, "h1").text == "Requeue 1,000 messages?"
    css(browser, "#f-note").send_keys("we are off their list")
    click(browser, "#do")
    assert "1,000 messages are queued again and due now." in css(browser, "[role=status]").text
    stand.settled(120)
    click(browser, "nav[aria-label=Main] a[href$=history]")
    [row] = texts(browser, "tbody tr")
    for word in ("ann@example.org", "requeue", "1,000", "domain=big.example", "we are off their list"):
        assert word in row
    taken = [mail.rcpt for mail in stand.server.wait_for(GROUP + 1)]
    assert sorted(taken) == sorted([*(f"user{number}@big.example" for number in range(GROUP)), "other@example.org"])


def test_without_the_right(browser: WebDriver, stand: Stand) -> None:
    """Who may only look finds and reads, is offered nothing, and is refused with a page that was open before."""
    stand.refuses["exmaple.org"] = "550 5.1.1 no such user here"
    stand.send("Your ticket", "ann@exmaple.org", html=HTML)
    stand.settled()
    address = f"{stand.pages.url}/mail?recipient=ann@exmaple.org"
    for form, fill in (("#correct button", True), ("button[value=requeue]", False)):
        stand.pages.rights.act = True
        browser.get(address)
        click(browser, "tbody .c-subject a")
        if fill:
            css(browser, "#correct summary").click()
            css(browser, "#f-recipient").send_keys(".uk")
        stand.pages.rights.act = False
        click(browser, form)
        assert css(browser, "h1").text == "Not allowed"
    stand.pages.rights.read_bodies = False
    browser.get(address)
    click(browser, "tbody .c-subject a")
    assert texts(browser, "main form") == []
    assert "no such user here" in css(browser, "main").text
    assert "You may not read" in css(browser, "main").text
    assert "Dear Ann" not in browser.page_source
    browser.get(f"{stand.pages.url}/failures")
    assert texts(browser, "main button") == []
    assert count(stand.database, states=(State.FAILED,)) == 1
    assert stand.server.messages == []


def test_script_all_the_way(browser: WebDriver, stand: Stand) -> None:
    """Script in the subject, the text, the HTML and the server's reply is text on every page that shows it."""
    stand.refuses["exmaple.org"] = f"554 5.7.1 {SCRIPT}"
    stand.send(f"Hello {SCRIPT}", "eve@exmaple.org", body=f"{SCRIPT}\n", html=f"{SCRIPT}<p>shown</p>")
    stand.settled()
    browser.get(f"{stand.pages.url}/mail")
    click(browser, "tbody .c-subject a")
    one = browser.current_url
    shown = css(browser, "main").text
    assert css(browser, "h1").text == f"Hello {SCRIPT}"
    assert f"554 5.7.1 {SCRIPT}" in shown
    assert SCRIPT in css(browser, "pre").text
    browser.switch_to.frame(css(browser, "iframe"))
    assert css(browser, "p").text == "shown"
    browser.switch_to.default_content()
    for address in (one, f"{one}/source", *(f"{stand.pages.url}/{path}" for path in ("", "mail", "failures"))):
        browser.get(address)
        assert "owned" not in browser.title, address
        assert browser.execute_script("return document.querySelectorAll('main script, main img').length") == 0
        with pytest.raises(NoAlertPresentException):
            browser.switch_to.alert.dismiss()
