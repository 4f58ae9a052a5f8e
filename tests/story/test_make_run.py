"""`make run` as a newcomer sees it: real processes, real TLS, a browser's requests, Ctrl-C."""

from __future__ import annotations

import http.cookiejar
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import psutil
import pytest
from dotenv import dotenv_values
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By

from tests.servers.process import kill_with_children, polled
from tests.web.test_pages import complaints, until

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0


class Running:
    """The process, what it has said so far, and a browser with cookies."""

    def __init__(self, instance: Path, environment: dict[str, str]) -> None:
        self.said = ""
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "devserver", "--instance", str(instance)),
                *("--port", "0", "--mailbox-port", "0", "--smtp-port", "0", "--backup-port", "0"),
            ],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._cookies = http.cookiejar.CookieJar()
        self._browser = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self._cookies)
        )

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in its output. Raises TimeoutError, or AssertionError if it ends before."""
        with polled(f"{pattern!r} is said", SECONDS) as wait_a_little:
            while not (match := re.search(pattern, self.said)):
                assert self.process.poll() is None, self.said
                wait_a_little()
        return match

    def get(self, url: str) -> str:
        with self._browser.open(url, timeout=10) as response:
            return str(response.read().decode())

    def forget_cookies(self) -> None:
        self._cookies.clear()

    def submit(self, url: str, **fields: str) -> str:
        """Posts the form at `url` with its CSRF token."""
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', self.get(url))
        assert token
        data = urllib.parse.urlencode({"csrf_token": token[1], **fields}).encode()
        with self._browser.open(url, data, timeout=10) as response:
            return str(response.read().decode())

    def page_with(self, url: str, pattern: str) -> re.Match[str]:
        """Reloads the page until it has the pattern."""
        with polled(f"{url} shows {pattern!r}", SECONDS) as wait_a_little:
            while not (match := re.search(pattern, self.get(url), re.DOTALL)):
                wait_a_little()
        return match

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, how: signal.Signals) -> int:
        """Its exit code after the signal."""
        self.process.send_signal(how)
        code = self.process.wait(SECONDS)
        self._reader.join()
        return code

    def close(self) -> None:
        """For a test that failed: nothing stays."""
        if self.process.poll() is None:
            kill_with_children(self.process.pid)
            self.process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.said += line


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    ours = ("MAIL_", "OUTBOX_", "FLASKY_", "DATABASE_URL", "SECRET_KEY", "APP_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= dict.fromkeys(dotenv_values(ROOT / ".env"), "")  # no test sends through the developer's own relay
    started = Running(tmp_path / "instance", environment)
    yield started
    started.close()


@pytest.mark.long
def test_registering_is_seen_in_the_mailbox(running: Running, browser: WebDriver) -> None:
    """Who registers has mail, whose link confirms the account; the administrator sees it, and, after a button says so,
    that it bounced: what is about the account's security goes out all the same. With another button the first relay
    goes down, and mail goes by the second; when that fails in its turn, by the first again. Ctrl-C ends all with 0.
    """
    running.wait_for("Ctrl-C stops it")
    application = running.wait_for(r"Application +(http://\S+)/\n")[1]
    mailbox = running.wait_for(r"Mail that arrived +(http://\S+/)\n")[1]
    password = running.wait_for(r"Administrator +admin@example\.com, password (\S+)")[1]

    register(running, application, "ada")
    mail = running.page_with(mailbox, r"ada@example\.com</td>\s*<td[^>]*><a href=\"(/mail/[^\"]+)\"")[1]
    page = running.get(urllib.parse.urljoin(mailbox, mail))
    link = re.search(rf'href="({re.escape(application)}/auth/confirm[^"]+)"', page)
    assert link
    running.submit(f"{application}/auth/login", email="ada@example.com", password="correct horse battery")
    assert "address is confirmed" in running.get(unescape(link[1]))
    assert running.page_with(mailbox, r"admin@example\.com</td>")

    running.forget_cookies()
    running.submit(f"{application}/auth/login", email="admin@example.com", password=password)
    assert running.page_with(f"{application}/admin/outbox/mail?state=sent", "ada@example.com")

    said = answer(browser, urllib.parse.urljoin(mailbox, mail), "Bounce")
    assert re.search(r"bounced ada@example\.com: delivery \d+; 5\d\d 5\.1\.1 .*; suppressed for all", said), said
    assert running.page_with(f"{application}/admin/outbox/mail?event=bounced", "ada@example.com")
    assert running.page_with(f"{application}/admin/outbox/suppressions", "ada@example.com")

    press(browser, mailbox, "main", "Down")
    running.submit(f"{application}/auth/reset", email="ada@example.com")
    assert running.page_with(mailbox, by("ada@example.com", "backup"))
    assert running.page_with(f"{application}/admin/outbox/", r"degraded.*Relay main .*may go by backup")
    press(browser, mailbox, "main", "Works")
    press(browser, mailbox, "backup", "Down")
    register(running, application, "bob")
    assert running.page_with(mailbox, by("bob@example.com", "main"))
    running.wait_for("status=transport-up")
    press(browser, mailbox, "main", "Cut after the dot")
    register(running, application, "cora")
    assert running.page_with(mailbox, by("cora@example.com", "main"))
    running.wait_for("to=cora@example.com .*reason=unknown")  # nobody can know: it stays with that relay
    assert complaints(browser) == []

    processes = running.children()
    assert len(processes) >= 5
    assert running.end(signal.SIGINT) == 0, running.said
    assert psutil.wait_procs(processes, timeout=0)[1] == []


def press(browser: WebDriver, mailbox: str, relay: str, button: str) -> None:
    """A button of a relay on the page of the local mail server; afterwards it is the one that is pressed."""
    browser.get(mailbox)
    form = f"//form[h3='{relay}']//button[.='{button}']"
    port = int(browser.find_element(By.XPATH, f"//form[h3='{relay}']/p").text.partition(":")[2].partition(".")[0])
    browser.find_element(By.XPATH, form).click()
    until(browser, lambda: browser.find_elements(By.XPATH, f"{form}[@aria-pressed='true']"))
    with polled(f"{relay} is as the button says", SECONDS) as wait_a_little:
        while listens(port) is (button == "Down"):
            wait_a_little()


def answer(browser: WebDriver, mail: str, button: str) -> str:
    """A button on the page of a mail; what is said of it."""
    browser.get(mail)
    browser.find_element(By.XPATH, f"//section[@id='answers']//button[.='{button}']").click()
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "[role=status].said"))
    return str(browser.find_element(By.CSS_SELECTOR, ".said").text)


def listens(port: int) -> bool:
    """Whether a relay takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def register(running: Running, application: str, name: str) -> None:
    """Causes mail, to who registers and to the administrator."""
    running.forget_cookies()
    running.submit(
        f"{application}/auth/register",
        email=f"{name}@example.com",
        username=name,
        password="correct horse battery",
        password2="correct horse battery",
    )


def by(recipient: str, relay: str) -> str:
    """A row of the mailbox, as a pattern."""
    return rf'{re.escape(recipient)}</td>(?:(?!<tr>).)*data-label="By">{relay}<'


@pytest.mark.long
def test_a_worker_that_dies_takes_the_rest_down(running: Running) -> None:
    """Half a system is none: the exit code is an error and nothing stays."""
    running.wait_for("Ctrl-C stops it")
    processes = running.children()
    (worker,) = (process for process in processes if "outbox-sender" in process.cmdline())
    worker.kill()
    assert running.process.wait(SECONDS) == 1
    assert psutil.wait_procs(processes, timeout=0)[1] == []
    assert re.search(r"worker +\| ended with exit code -9", running.said)
