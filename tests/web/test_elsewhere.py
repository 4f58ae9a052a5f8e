"""The local mailbox and the forms of the reference application, in a browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from werkzeug.serving import make_server

from devserver.mailbox import Mailbox
from devserver.pages import create_app
from tests.web.site import Site
from tests.web.test_pages import AXE, click, css, texts, until
from tests.web.test_reference import log_in, reference

__all__ = ["reference"]


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[tuple[Mailbox, str]]:
    """A mailbox with one message, and the address of its pages."""
    box = Mailbox(tmp_path / "mailbox")
    add(box, "first@example.org", "First")
    server = make_server("127.0.0.1", 0, create_app(box, "http://127.0.0.1:1"), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield box, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def add(box: Mailbox, to: str, subject: str) -> None:
    box.add("flasky@example.com", [to], f"From: flasky@example.com\r\nSubject: {subject}\r\n\r\nText\r\n".encode())


def subjects(browser: WebDriver) -> list[str]:
    """Read at once: the list may be replaced meanwhile."""
    found = browser.execute_script("return [...document.querySelectorAll('tbody a')].map(one => one.textContent)")
    return list(found)


def faults(browser: WebDriver) -> list[tuple[str, object]]:
    browser.execute_script(AXE.read_text())
    found = browser.execute_async_script("axe.run(document, {iframes: false, preload: false}).then(arguments[0])")
    return [(fault["id"], [node["target"] for node in fault["nodes"]][:3]) for fault in found["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_mailbox(browser: WebDriver, mailbox: tuple[Mailbox, str], width: int, scheme: str) -> None:
    """It fits the screen, axe finds nothing, new mail appears by itself, and a search finds."""
    box, url = mailbox
    screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width == 390}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        browser.get(url)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert faults(browser) == []
        page = css(browser, "html")
        add(box, "a-very-long-local-part-of-an-address@subdomain.example.org", "Second")
        until(browser, lambda: subjects(browser) == ["Second", "First"])
        assert css(browser, "html") == page  # nothing was reloaded
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        css(browser, "#q").send_keys("FIRST@")
        click(browser, "form.search button")
        assert texts(browser, "tbody a") == ["First"]
        click(browser, "tbody a")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert faults(browser) == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_errors_of_a_form_are_announced(browser: WebDriver, reference: Site) -> None:
    """The first wrong field has the focus and says why; no attribute says "None"."""
    root = reference.url.removesuffix("/admin/outbox")
    browser.get(f"{root}/auth/register")
    assert '="None"' not in browser.page_source
    click(browser, "form.card [type=submit]")
    wrong = browser.find_elements(By.CSS_SELECTOR, "[aria-invalid=true]")
    assert [field.get_attribute("name") for field in wrong] == ["email", "username", "password", "password2"]
    assert browser.switch_to.active_element == wrong[0]
    for field in wrong:
        described = (field.get_attribute("aria-describedby") or "").split()
        errors = [browser.find_element(By.ID, name) for name in described if name.endswith("-error")]
        assert errors[0].get_attribute("role") == "alert"
        assert errors[0].text
    assert '="None"' not in browser.page_source
    assert faults(browser) == []


def test_a_page_that_is_not_there(browser: WebDriver, reference: Site) -> None:
    """The application's own 404 has its navigation."""
    browser.get(f"{reference.url.removesuffix('/admin/outbox')}/nowhere")
    assert "Log in" in texts(browser, "nav a")


def test_the_pages_know_their_site(browser: WebDriver, reference: Site) -> None:
    """Its name, the way back, who is logged in; "Log out" logs out."""
    browser.get(f"{reference.url}/mail")
    log_in(browser, "chief@example.org")
    name = reference.app.config["FLASKY_NAME"]
    assert texts(browser, ".account a, .account .who") == [f"Back to {name}", "Signed in as chief@example.org"]
    assert css(browser, ".brand").text == f"Outbox {name}"
    click(browser, ".account button")
    browser.get(f"{reference.url}/mail")
    assert "/auth/login" in browser.current_url
