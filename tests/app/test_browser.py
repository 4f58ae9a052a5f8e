"""The application in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from werkzeug.serving import make_server

from outbox.testing import Mailbox
from tests.app.browser import PASSWORD
from tests.app.conftest import link_in
from tests.web.chromium import until_another_page


@pytest.fixture
def site(make_app: Callable[..., Flask]) -> Iterator[Flask]:
    """The application on a port of this machine, as `make run` configures it."""
    app = make_app(APP_ENV="development")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    app.config["FLASKY_BASE_URL"] = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield app
    server.shutdown()
    thread.join()
    server.server_close()


def fill_in(browser: WebDriver, **values: str) -> None:
    """Fill in the form of the page, send it, and wait for the answer."""
    for name, value in values.items():
        browser.find_element(By.NAME, name).send_keys(value)
    press(browser, "input.button")


def press(browser: WebDriver, selector: str) -> None:
    """Press a button that leads to another page, and wait for that page."""
    root = browser.find_element(By.TAG_NAME, "html")
    browser.find_element(By.CSS_SELECTOR, selector).click()
    until_another_page(browser, root)


def heading(browser: WebDriver) -> str:
    return browser.find_element(By.TAG_NAME, "h1").text


def test_an_account_from_registration_to_log_out(site: Flask, browser: WebDriver, add_user: Callable[..., int]) -> None:
    """Everything works in Chromium, whose console reports nothing refused, on the admin's pages neither."""
    url = site.config["FLASKY_BASE_URL"]
    browser.get(f"{url}/auth/register")
    fill_in(browser, email="ada@example.org", username="ada", password=PASSWORD, password2=PASSWORD)
    assert heading(browser) == "Log in"
    browser.get(url + link_in(Mailbox(site)[0]))
    assert heading(browser) == "Log in"
    fill_in(browser, email="ada@example.org", password=PASSWORD)
    assert "address is confirmed" in browser.find_element(By.CLASS_NAME, "success").text
    assert heading(browser) == "Hello, ada!"
    press(browser, "header form button")
    assert heading(browser) == "Mail that is not lost"

    add_user("chief@example.org", "chief", is_admin=True)
    browser.get(f"{url}/admin/outbox/")
    assert heading(browser) == "Log in"
    fill_in(browser, email="chief@example.org", password=PASSWORD)
    assert browser.current_url == f"{url}/admin/outbox/"
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_pages_fit_the_screen(site: Flask, browser: WebDriver, add_user: Callable[..., int], width: int) -> None:
    """No page is wider than the screen, on a small telephone either, with a long name and address."""
    add_user("a" * 60 + "@" + "b" * 60 + ".example.org", "n" * 64, confirmed=False)
    url = site.config["FLASKY_BASE_URL"]
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        for path in ("/", "/auth/register", "/auth/login", "/nowhere", "/account", "/auth/change-email"):
            browser.get(url + path)
            if heading(browser) == "Log in" and path == "/account":
                fill_in(browser, email="a" * 60 + "@" + "b" * 60 + ".example.org", password=PASSWORD)
                assert heading(browser) == "Your account"
            room = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
            assert room[0] <= room[1], path
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
