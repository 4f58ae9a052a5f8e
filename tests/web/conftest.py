"""Varied mail, an application with the pages on a port of its own, and a real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver

from tests.servers.databases import Database
from tests.web.chromium import chromium, found
from tests.web.seed import Template
from tests.web.site import Site, serving, site


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Varied mail, written once."""
    return Template(tmp_path_factory.mktemp("seeded"))


@pytest.fixture
def seeded(template: Template, tmp_path: Path) -> Iterator[Database]:
    """A database with varied mail."""
    database = template.copy(tmp_path / "seeded.sqlite3")
    yield database
    database.dispose()


@pytest.fixture
def ids(template: Template) -> dict[str, int]:
    """The delivery's id of each recipient."""
    return template.ids


@pytest.fixture
def pages(seeded: Database) -> Iterator[Site]:
    """The smallest application with the pages, served, everything allowed."""
    with serving(site(seeded.url)) as made:
        yield made


@pytest.fixture(scope="session")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """One browser for all tests of a run; skipped where there is none, unless it is required."""
    if found() is None:
        reason = "no chromium and chromedriver found (Debian: apt install chromium chromium-driver)"
        required = os.environ.get("OUTBOX_TEST_REQUIRE", "")
        if required == "all" or "chromium" in required.split(","):
            pytest.fail(f"chromium is required (OUTBOX_TEST_REQUIRE): {reason}", pytrace=False)
        pytest.skip(reason)
    with chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture
def browser(chrome: WebDriver) -> Iterator[WebDriver]:
    """The browser with an empty cookie jar and an empty console."""
    chrome.get("about:blank")
    chrome.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chrome.get_log("browser")
    yield chrome
    chrome.get("about:blank")
