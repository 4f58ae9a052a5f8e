"""A real Chromium, headless, with an empty profile and no traffic of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver

FLAGS = (
    "--headless",
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--window-size=1280,900",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing beyond this machine
)


def found() -> tuple[str, str] | None:
    """The browser and its driver; None where the machine lacks one of them."""
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    driver = os.environ.get("CHROMEDRIVER") or shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


@contextmanager
def chromium(profile: Path) -> Iterator[WebDriver]:
    """A browser with a new profile in `profile`."""
    programs = found()
    if programs is None:
        raise RuntimeError("chromium and chromedriver are needed (Debian: apt install chromium chromium-driver)")
    options = ChromeOptions()
    options.binary_location = programs[0]
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = WebDriver(options, Service(programs[1]))
    try:
        browser.set_page_load_timeout(60)  # several browsers may start at once on a busy machine
        yield browser
    finally:
        browser.quit()


_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
