"""An overview that gets no new figures says so, with the time of the last ones and a running age."""

from __future__ import annotations

import pytest
from flask import Response, abort, redirect, request
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from outbox import operations
from outbox.operations import Filter
from tests.servers.databases import Database
from tests.web.site import Site, serving, site
from tests.web.test_pages import css, until


def opened(browser: WebDriver, pages: Site) -> tuple[str, str]:
    """Opens the overview, updated every 50 ms; its clock and the time of its figures."""
    browser.get(f"{pages.url}/")
    browser.execute_script("refresh(50)")
    return css(browser, "#live").text, css(browser, "#live").get_attribute("data-at") or ""


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("log-in", "you are logged out"),
        ("503", "the server answered 503"),
        ("403", "you may not see this page any more"),
        ("another", "the server answered with another page"),
    ],
)
def test_a_refresh_that_fails(
    browser: WebDriver, pages: Site, ids: dict[str, int], seeded: Database, fault: str, words: str
) -> None:
    """Figures and clock stand still together, a banner says why and how old they are; it goes when they are new."""
    broken: list[str] = []

    def answer() -> Response | str | None:
        if not broken or request.path.endswith((".css", ".js", ".svg")):
            return None
        if fault == "log-in":
            return redirect("/log-in")  # type: ignore[return-value]
        return "<p>Maintenance</p>" if fault == "another" else abort(int(fault))

    pages.app.before_request(answer)
    opened(browser, pages)
    broken.append(fault)
    with seeded.engine.begin() as connection:
        operations.mark_sent(connection, Filter(ids=(ids["invoice@example.com"],)), by="ann")
    until(browser, lambda: css(browser, "#frozen").is_displayed())
    clock, at = css(browser, "#live").text, css(browser, "#live").get_attribute("data-at") or ""
    banner = css(browser, "#frozen").text
    assert words in banner
    assert f"those of {at}" in banner
    until(browser, lambda: css(browser, "#frozen").text != banner)  # its age runs on
    assert css(browser, "#live").text == clock
    broken.clear()
    until(browser, lambda: not css(browser, "#frozen").is_displayed())
    until(browser, lambda: css(browser, "#live").get_attribute("data-at") != at)  # in whole seconds
    assert not browser.find_elements(By.CSS_SELECTOR, ".tile.uncertain")


def test_a_server_that_is_gone(browser: WebDriver, seeded: Database) -> None:
    """Nobody answers any more."""
    with serving(site(seeded.url)) as pages:
        opened(browser, pages)
    until(browser, lambda: "the server does not answer" in css(browser, "#frozen").text)
    assert css(browser, ".tile.uncertain strong").text == "1"


def test_clock_and_figures_wait_together(
    browser: WebDriver, pages: Site, ids: dict[str, int], seeded: Database
) -> None:
    """While a link among the figures has the focus nothing is replaced, the clock neither; the age says so."""
    _, at = opened(browser, pages)
    until(browser, lambda: _focused(browser))
    at = css(browser, "#live").get_attribute("data-at")
    until(browser, lambda: "not refreshed while you read" in css(browser, "#age").text)
    assert css(browser, "#live").get_attribute("data-at") == at
    assert css(browser, ".tile.uncertain strong").text == "1"


def test_refreshing_can_be_stopped(browser: WebDriver, pages: Site, ids: dict[str, int], seeded: Database) -> None:
    """By a button that can't be taken for one that pauses mail."""
    opened(browser, pages)
    button = browser.find_elements(By.CSS_SELECTOR, ".title button")[-1]  # of `refresh(50)`
    assert button.text == "Stop refreshing"
    button.click()
    until(browser, lambda: "refreshing is stopped" in css(browser, "#age").text)
    at = css(browser, "#live").get_attribute("data-at")
    with seeded.engine.begin() as connection:
        operations.mark_sent(connection, Filter(ids=(ids["invoice@example.com"],)), by="ann")
    assert css(browser, "#live").get_attribute("data-at") == at
    assert css(browser, ".tile.uncertain strong").text == "1"
    assert button.text == "Start refreshing"
    button.click()
    until(browser, lambda: not browser.find_elements(By.CSS_SELECTOR, ".tile.uncertain"))


def _focused(browser: WebDriver) -> bool:
    """Whether a tile has the focus and a key was pressed; the figures may have been replaced in between."""
    browser.execute_script("document.querySelector('main a.tile').focus()")
    ActionChains(browser).key_down(Keys.SHIFT).key_up(Keys.SHIFT).perform()
    return bool(browser.execute_script("return document.activeElement.matches('.tile')"))
