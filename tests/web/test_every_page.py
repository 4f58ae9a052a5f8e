"""Every page of the three sites and every message of the application: reachable by all, fit for any screen, plain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from flask import Flask
from selenium.webdriver.chrome.webdriver import WebDriver

import outbox.web
from app import create_app
from devserver.mailbox import Mailbox
from devserver.pages import create_app as mailbox_pages
from tests.web.every import APPLICATION, MAILBOX, NO_PAGES, OUTBOX, REPR, World, world
from tests.web.test_pages import AXE

CONTRAST = {"type": "rule", "values": ["color-contrast"]}
SCREENS = ((1280, "light", None), (1280, "dark", CONTRAST), (390, "light", None))
"""Width, scheme and which rules: the scheme changes colours alone, and these are the same at each width. What axe-core
would load before, half of its time, is for sound and films, and for a rule that is off."""


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        yield made


def endpoints(app: Flask, blueprint: str = "") -> set[str]:
    """The endpoints that answer to GET, but for files and for other blueprints' pages."""
    return {
        rule.endpoint.removeprefix(blueprint)
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ())
        and not rule.endpoint.endswith("static")
        and rule.endpoint.startswith("outbox_admin.") == (blueprint == "outbox_admin.")
    }


def test_no_page_is_forgotten(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A new route is named in tests/web/every.py, with the views of it, or with the reason why it is no page."""
    bare = Flask("bare")
    bare.register_blueprint(outbox.web.blueprint(), url_prefix="/outbox")
    assert endpoints(bare, "outbox_admin.") == OUTBOX.keys() | NO_PAGES.keys()
    folder = tmp_path_factory.mktemp("bare")
    settings = {"SECRET_KEY": "for tests", "DATABASE_URL": "sqlite://", "APP_ENV": "development"}
    app = create_app(settings, environ={}, instance_path=str(folder))
    assert endpoints(app) == APPLICATION.keys() - {""}
    assert endpoints(mailbox_pages(Mailbox(folder), "http://127.0.0.1")) == MAILBOX.keys()


OTHERS = [pytest.param(part, marks=pytest.mark.long) for part in ("outbox-(?!mail)[a-o]", "outbox-[p-z]", "(?!outbox)")]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("part", ["outbox-mail", *OTHERS])
def test_accessible(browser: WebDriver, everything: World, part: str) -> None:
    """axe-core finds nothing at all, wide and narrow, in light and in the dark; nothing scrolls sideways at 390 px.

    In parts, for several workers of a run.
    """
    faults: list[object] = []
    axe = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": AXE.read_text()})
    try:
        for name, address, view in everything.views():
            if not re.match(part, name):
                continue
            screen(browser, 1280, "light")
            everything.open(browser, address, view)
            faults += looked_at(browser, name)
        for template in everything.messages if re.match(part, "message") else ():
            everything.show(browser, template)
            faults += looked_at(browser, f"message {template}")
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", axe)
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert faults == []


def screen(browser: WebDriver, width: int, scheme: str) -> None:
    view = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width == 390}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)
    still = {"name": "prefers-reduced-motion", "value": "reduce"}  # no colour is caught on its way to another
    features = [{"name": "prefers-color-scheme", "value": scheme}, still]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def looked_at(browser: WebDriver, name: str) -> Iterator[object]:
    """What is wrong with the page that is open, on each of the SCREENS."""
    browser.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
    for width, scheme, only in SCREENS:
        screen(browser, width, scheme)
        found = browser.execute_async_script(
            "const [only, done] = arguments;"
            "const options = {iframes: false, preload: false, resultTypes: ['violations']};"
            "if (only) options.runOnly = only;"
            "axe.run(document, options).then(done, error => done({violations: [], passes: [], error: String(error)}))",
            only,
        )
        if not found["passes"]:
            yield name, width, scheme, "nothing was looked at", found.get("error")
        for fault in found["violations"]:
            yield name, width, scheme, fault["id"], [node["target"] for node in fault["nodes"]][:3]
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        torn = "td => [...td.childNodes].filter(one => one.nodeType === 1 || one.textContent.trim()).length > 1"
        if width == 390 and browser.execute_script(
            f"return [...document.querySelectorAll('td[data-label]')].some({torn})"
        ):
            yield name, width, scheme, "a cell of several pieces, which a telephone shows one below the other"
        if wide > width:
            yield name, width, scheme, "scrolls sideways", wide


def test_no_page_shows_how_python_writes(everything: World) -> None:
    """No tuple, None, object or datetime stands where a person reads; each page answers."""
    wrong = []
    for name, address, view in everything.views():
        page = everything.read(address, view)
        assert page.status_code < 500 or name == "outbox-unmigrated", name
        for words in Words(page.text).said:
            wrong += [(name, words.strip())] if REPR.search(words) else []
    assert wrong == []


def test_no_link_is_a_command(everything: World) -> None:
    """What a command is about is a row or a list, and the link to it is worded."""
    wrong = []
    for name, address, view in everything.views():
        links = re.findall(r"<a [^>]*>(.*?)</a>", everything.read(address, view).text, re.DOTALL)
        wrong += [(name, link) for link in links if re.search(r"<code>|\boutbox-[a-z]", link)]
    assert wrong == []


class Words(HTMLParser):
    """What a person reads of a page, or hears of it."""

    HEARD = frozenset({"alt", "aria-label", "content", "placeholder", "title", "value"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.said += [value or "" for name, value in attrs if name in self.HEARD]
