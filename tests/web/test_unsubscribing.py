"""The page behind an unsubscribe link, in a browser: by mouse and keyboard, wide and narrow, in light and dark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver

from tests.web.every import World, world
from tests.web.test_pages import click, css, texts


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        yield made


def boxes(browser: WebDriver) -> dict[str, bool]:
    """The lists on the page, and whether each is ticked."""
    found = browser.find_elements("css selector", "label")
    return {
        one.text.partition("\n")[0]: one.find_element("css selector", "[type=checkbox]").is_selected() for one in found
    }


def test_a_person_leaves_and_comes_back(browser: WebDriver, everything: World) -> None:
    """Each page says what is so now, and offers the way back."""
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
    link = f"{everything.root}/unsubscribe/{everything.links['token']}"
    browser.get(link)
    assert css(browser, "h1").text == "Unsubscribe?"
    assert boxes(browser) == {"News": True, "Tips": True}
    browser.find_element("xpath", "//label[contains(., 'Tips')]").click()
    click(browser, ".lists button")
    assert css(browser, "h1").text == "Saved"
    assert boxes(browser) == {"News": True, "Tips": False}
    browser.get(link)
    click(browser, "button[value=all]")
    assert "no more mail of any list" in css(browser, "[role=status]").text
    assert boxes(browser) == {"News": False, "Tips": False}
    browser.get(link)
    assert css(browser, "h1").text == "You are unsubscribed"
    assert texts(browser, ".row button") == ["Subscribe to News again", "Undo for all lists"]
    click(browser, ".row form:last-child button")
    assert boxes(browser) == {"News": True, "Tips": False}
    assert browser.get_cookies() == []
