"""An admin at a real browser: finds mail, reads why it failed, looks at it, changes it, and comes to no harm."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from outbox import operations
from outbox.delivery.states import State
from outbox.operations import Filter
from tests.servers.databases import Database
from tests.web.chromium import until_another_page
from tests.web.seed import HOSTILE_REPLY, HOSTILE_SUBJECT, PNG, REFUSED, SCRIPT, Mail, write
from tests.web.site import Site

AXE = Path(__file__).parent / "vendor" / "axe.min.js"


def css(browser: WebDriver, selector: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, selector)


def texts(browser: WebDriver, selector: str) -> list[str]:
    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, selector)]


def click(browser: WebDriver, selector: str) -> None:
    """Click a link or button that leads to another page, and wait for that page."""
    root = css(browser, "html")
    css(browser, selector).click()
    until_another_page(browser, root)


def until(browser: WebDriver, condition: Callable[[], object]) -> None:
    WebDriverWait(browser, 30, poll_frequency=0.02).until(lambda _: condition())


def state_of(database: Database, id: int) -> State:
    with database.engine.connect() as connection:
        found = operations.show(connection, id)
    assert found is not None
    return found.state


def count(database: Database, **words: object) -> int:
    with database.engine.connect() as connection:
        return operations.count(connection, Filter(**words))


def test_a_failed_mail_from_complaint_to_requeue(
    browser: WebDriver, pages: Site, ids: dict[str, int], seeded: Database
) -> None:
    """Find it by its recipient, read why it failed, see its HTML and text, requeue it, see it queued."""
    browser.get(pages.url + "/")
    css(browser, "#find").send_keys("ann@example.org", Keys.ENTER)
    until(browser, lambda: browser.title.startswith("All mail"))
    assert texts(browser, "tbody .c-recipient") == ["ann@example.org"]
    assert "550 5.1.1 The email account that you tried to reach does not exist." in css(browser, "tbody .c-reply").text
    click(browser, "tbody .c-subject a")
    assert css(browser, "h1").text == "[Flasky] Set a new password"
    assert len(browser.find_elements(By.CSS_SELECTOR, ".timeline li")) == 3
    browser.switch_to.frame(css(browser, "iframe"))
    assert "somebody asked to set a new password" in css(browser, "body").text
    assert browser.execute_script("return document.querySelector('img').naturalWidth") == 20  # the inline image
    browser.switch_to.default_content()
    assert "https://flasky.example/auth/reset/" in css(browser, "pre").text
    click(browser, "button[value=requeue]")
    assert "This message is queued again and due now." in css(browser, "[role=status]").text
    assert css(browser, ".title .state").text == "queued"
    assert state_of(seeded, ids["ann@example.org"]) is State.QUEUED
    assert complaints(browser) == []


def test_filter_and_requeue_all_that_match(browser: WebDriver, pages: Site, seeded: Database) -> None:
    """A filter, all that match, the preview, the confirmation: 37 requeued, the others not."""
    browser.get(f"{pages.url}/mail")
    click(browser, "nav[aria-label=State] a[href*='state=failed']")
    css(browser, "#f-error").send_keys("5.1.1")
    css(browser, "#f-domain").send_keys("gone.example.org")
    css(browser, "#more summary").click()
    Select(css(browser, "#f-since")).select_by_visible_text("within 1 day")
    click(browser, "#filter button")
    assert css(browser, "#count").text == "37 match"
    css(browser, "input[name=scope][value=all]").click()
    click(browser, "button[value=requeue]")
    assert css(browser, "h1").text == "Requeue 37 messages?"
    assert count(seeded, states=(State.FAILED,)) == 41
    click(browser, "#do")
    assert "37 messages are queued again and due now." in css(browser, "[role=status]").text
    assert count(seeded, states=(State.FAILED,)) == 4


def test_a_group_of_a_thousand(
    browser: WebDriver, pages: Site, seeded: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group of 1,000 failures with one cause is requeued from the page of failures in two clicks."""
    monkeypatch.setattr("outbox.web.actions.LOOK_SECONDS", 30.0)  # a busy machine counts them all, too
    with seeded.engine.begin() as connection:
        to = {f"user{number}@big.example.org": State.FAILED for number in range(1000)}
        write(connection, Mail(to, tries=[REFUSED], reason="refused"))
    browser.get(f"{pages.url}/failures")
    assert texts(browser, "tbody tr:first-child .number")[0] == "1,000 ×"
    click(browser, "tbody tr:first-child button")
    assert css(browser, "h1").text == "Requeue 1,000 messages?"
    click(browser, "#do")
    assert "1,000 messages are queued again and due now." in css(browser, "[role=status]").text
    assert count(seeded, domain="big.example.org", states=(State.QUEUED,)) == 1000


def test_tick_and_cancel(browser: WebDriver, pages: Site, ids: dict[str, int], seeded: Database) -> None:
    """Tick two of three, cancel them, the third stays; tick-all ticks all."""
    browser.get(f"{pages.url}/mail?state=queued")
    css(browser, "thead input[type=checkbox]").click()
    assert css(browser, "#ticked").text == "(3)"
    css(browser, f"input[value='{ids['dora@example.com']}']").click()
    assert css(browser, "#ticked").text == "(2)"
    click(browser, "button[value=cancel]")
    assert css(browser, "h1").text == "Cancel 2 messages?"
    click(browser, "#do")
    assert count(seeded, states=(State.QUEUED,)) == 1
    assert state_of(seeded, ids["dora@example.com"]) is State.QUEUED


def test_send_a_deferred_mail_now(browser: WebDriver, pages: Site, ids: dict[str, int], seeded: Database) -> None:
    """By keyboard: one key presses the button of the page; its group is offered the same."""
    id = ids["long@example.com"]
    browser.get(f"{pages.url}/failures")
    assert "Send now…" in texts(browser, "main button")
    browser.get(f"{pages.url}/mail/{id}")
    css(browser, "button[value=send-now]").send_keys(Keys.ENTER)
    until(browser, lambda: "This message is due now." in css(browser, "[role=status]").text)
    assert "send-now" in css(browser, "#steps").text
    assert count(seeded, ids=(id,), waiting=True) == 0
    assert state_of(seeded, id) is State.QUEUED


def test_without_the_right(browser: WebDriver, pages: Site, ids: dict[str, int], seeded: Database) -> None:
    """Who lost the right while the page was open is refused, and nothing is changed."""
    id = ids["ann@example.org"]
    browser.get(f"{pages.url}/mail/{id}")
    pages.rights.act = pages.rights.send_now = False
    click(browser, "button[value=requeue]")
    assert css(browser, "h1").text == "Not allowed"
    assert state_of(seeded, id) is State.FAILED
    browser.get(f"{pages.url}/mail/{id}")
    assert texts(browser, "main button") == []
    pages.rights.view = False
    browser.get(f"{pages.url}/mail/{id}")
    assert css(browser, "h1").text == "Not allowed"
    assert "Set a new password" not in browser.page_source


@pytest.mark.parametrize(
    "path", ["/", "/mail", "/failures", "/history", "/mail/{id}", "/mail/{id}/source", "/mail/{id}?remote=1"]
)
def test_script_stays_text(browser: WebDriver, pages: Site, ids: dict[str, int], path: str) -> None:
    """Script in subject, reply, kind, text and HTML is seen as text and never runs."""
    browser.get(pages.url + path.format(id=ids["kaputt@example.net"]))
    assert "owned" not in browser.title
    with pytest.raises(NoAlertPresentException):
        browser.switch_to.alert.dismiss()
    assert (
        browser.execute_script("return document.querySelectorAll('main script, main [onclick], main img').length") == 0
    )
    if path == "/mail/{id}":
        body = css(browser, "main").text
        assert HOSTILE_SUBJECT in body
        assert HOSTILE_REPLY in body
        assert f"Text {SCRIPT}" in body


def test_the_frame_does_nothing(browser: WebDriver, pages: Site, ids: dict[str, int]) -> None:
    """In the frame: no script, no remote content, no form; style and text as they are."""
    browser.get(f"{pages.url}/mail/{ids['kaputt@example.net']}")
    title = browser.title
    browser.switch_to.frame(css(browser, "iframe"))
    assert css(browser, "#shown").text == "Hostile"
    assert css(browser, "#shown").value_of_css_property("color") == "rgba(1, 2, 3, 1)"
    assert css(browser, "body").get_attribute("id") != "ran"
    css(browser, "#bad").click()
    css(browser, "button").click()
    assert css(browser, "#shown").text == "Hostile"
    browser.switch_to.default_content()
    assert browser.title == title
    assert browser.current_url.endswith(str(ids["kaputt@example.net"]))


def test_remote_content_only_when_asked(browser: WebDriver, pages: Site, seeded: Database) -> None:
    """Nothing in a mail calls home when it is looked at, not even by connecting; asked for, its images do."""
    with recording_server() as (home, asked_for):
        html = (
            f"<img src='{home}/image'><link rel=stylesheet href='{home}/style'><iframe src='{home}/frame'></iframe>"
            f"<video src='{home}/video' autoplay></video><style>@import url({home}/import); body {{"
            f" background: url({home}/background) }} @font-face {{ font-family: f; src: url({home}/font) }} </style>"
            f"<p style='font-family: f'>text</p><meta http-equiv=refresh content='0; url={home}/refresh'>"
            f"<object data='{home}/object'></object><link rel=prefetch href='{home}/prefetch'>"
            f"<link rel=preconnect href='{home}'><LINK/rel=preload as=image href='{home}/preload'>"
        )
        with seeded.engine.begin() as connection:
            [id] = write(connection, Mail({"eve@example.org": State.SENT}, html=html))
        browser.get(f"{pages.url}/mail/{id}")
        browser.switch_to.frame(css(browser, "iframe"))
        assert css(browser, "p").text == "text"
        browser.switch_to.default_content()
        assert asked_for == []
        click(browser, "a[href*=remote]")
        until(browser, lambda: {"/image", "/background"} <= set(asked_for))
        assert set(asked_for) == {"connection", "/image", "/background"}


def test_the_html_alone_is_as_harmless(browser: WebDriver, pages: Site, ids: dict[str, int]) -> None:
    """Opened outside of its frame the HTML still runs nothing and has no cookies of the site."""
    browser.get(f"{pages.url}/mail/{ids['kaputt@example.net']}/html")
    assert css(browser, "#shown").text == "Hostile"
    assert css(browser, "body").get_attribute("id") != "ran"
    assert browser.title == ""


def test_older_and_newer(browser: WebDriver, pages: Site) -> None:
    """Paging leads on and back again."""
    browser.get(f"{pages.url}/mail?since=7d")
    first = texts(browser, "tbody .c-recipient")
    click(browser, "a[rel=next]")
    second = texts(browser, "tbody .c-recipient")
    assert not set(first) & set(second)
    click(browser, "a[rel=next]")
    assert not browser.find_elements(By.CSS_SELECTOR, "a[rel=next]")
    click(browser, "a[rel=prev]")
    assert texts(browser, "tbody .c-recipient") == second
    click(browser, "a[rel=prev]")
    assert texts(browser, "tbody .c-recipient") == first


def test_the_overview_updates_itself(browser: WebDriver, pages: Site, ids: dict[str, int], seeded: Database) -> None:
    """What changes in the outbox is seen without loading the page again."""
    browser.get(f"{pages.url}/")
    assert css(browser, ".tile.uncertain strong").text == "1"
    browser.execute_script("refresh(50)")  # what the page does every ten seconds
    with seeded.engine.begin() as connection:
        operations.mark_sent(connection, Filter(ids=(ids["invoice@example.com"],)), by="ann")
    until(browser, lambda: not browser.find_elements(By.CSS_SELECTOR, ".tile.uncertain"))


def test_without_script(browser: WebDriver, pages: Site, ids: dict[str, int], seeded: Database) -> None:
    """With script switched off everything can still be done."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(f"{pages.url}/mail?state=failed")
        css(browser, f"input[value='{ids['ann@example.org']}']").click()
        click(browser, "button[value=requeue]")
        assert css(browser, "h1").text == "Requeue 1 message?"
        click(browser, "#do")
        assert state_of(seeded, ids["ann@example.org"]) is State.QUEUED
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_by_keyboard(browser: WebDriver, pages: Site, ids: dict[str, int], seeded: Database) -> None:
    """The content is one key away, and a mail is requeued without a mouse."""
    browser.get(f"{pages.url}/mail/{ids['ann@example.org']}")
    css(browser, "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the content"
    browser.switch_to.active_element.send_keys(Keys.ENTER, Keys.TAB)
    assert browser.switch_to.active_element.text == "← Back to the list"
    while browser.switch_to.active_element.text in ("← Back to the list", "Newer", "Older"):
        browser.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Requeue"
    root = css(browser, "html")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    until_another_page(browser, root)
    assert state_of(seeded, ids["ann@example.org"]) is State.QUEUED


@contextmanager
def recording_server() -> Iterator[tuple[str, list[str]]]:
    """A web server beyond the application: its address, and what it was asked for."""
    asked_for: list[str] = []

    class Server(ThreadingHTTPServer):
        def process_request(self, request: Any, client_address: Any) -> None:
            asked_for.append("connection")
            super().process_request(request, client_address)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked_for.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(PNG)))
            self.send_header("Content-Type", "image/png")
            self.end_headers()
            self.wfile.write(PNG)

        def log_message(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked_for
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def complaints(browser: WebDriver) -> list[str]:
    """What the browser's console holds."""
    return [re.sub(r"\s+", " ", entry["message"]) for entry in browser.get_log("browser")]
