"""A real Chromium, headless, with an empty profile and no traffic of its own."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.servers.process import ServerProcess, own_folder

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
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with ExitStack() as stack:
        if shell := shutil.which(_SHELL):
            options.debugger_address = stack.enter_context(_shell(shell))
        else:
            options.binary_location = programs[0]
            for flag in (*FLAGS, f"--user-data-dir={profile}"):
                options.add_argument(flag)
        browser = WebDriver(options, Service(programs[1]))
        stack.callback(browser.quit)
        browser.set_page_load_timeout(60)  # several browsers may start at once on a busy machine
        yield browser


def until_another_page(browser: WebDriver, root: WebElement) -> None:
    """Waits until a document other than that of `root` is there, and complete.

    Between two documents chromedriver answers with errors of many kinds.
    """

    def there(_: WebDriver) -> bool:
        new = browser.find_element("css selector", "html")
        return new.id != root.id and browser.execute_script("return document.readyState") == "complete"

    WebDriverWait(browser, 60, poll_frequency=0.02, ignored_exceptions=[WebDriverException]).until(there)


@contextmanager
def _shell(program: str) -> Iterator[str]:
    """Its address. chromedriver does not find the page of one that it has started itself."""
    folder = own_folder("outbox-chromium-")
    process = ServerProcess(folder, "chromium")
    address = folder / "DevToolsActivePort"  # a line with the port, a line with a path
    try:
        process.start(
            [program, *FLAGS, f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank"],
            lambda: address.exists() and address.read_text().count("\n") > 0,
        )
        yield f"127.0.0.1:{address.read_text().split()[0]}"
    finally:
        process.stop(signal.SIGTERM)
        shutil.rmtree(folder, ignore_errors=True)


_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SHELL = "/usr/lib/chromium/chromium-headless-shell"
"""The same browser without the windows and tabs around a page, at a third of the processor time (Debian's package
chromium-headless-shell; what it has in PATH is a script, which would not end with its parent)."""
