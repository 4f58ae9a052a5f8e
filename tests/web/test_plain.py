"""What somebody who knows nothing of the outbox reads from its pages: times, figures, and answers a few clicks away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from outbox import operations
from outbox.delivery.states import State
from outbox.models import OutboxDelivery, OutboxPause
from outbox.operations.pauses import What
from tests.servers.databases import Database
from tests.web.seed import REFUSAL, REFUSED, Mail, Try, refuse_sender, write
from tests.web.site import Site
from tests.web.test_pages import click, count, css, texts, until

PAUSE = OutboxPause.__table__
DELIVERY = OutboxDelivery.__table__


@contextmanager
def overridden(browser: WebDriver, command: str, value: dict[str, object], after: dict[str, object]) -> Iterator[None]:
    browser.execute_cdp_cmd(command, value)
    try:
        yield
    finally:
        browser.execute_cdp_cmd(command, after)


def test_times_are_the_reader_s(browser: WebDriver, pages: Site, ids: dict[str, int]) -> None:
    """In Tokyo the exact times are those of Tokyo, with UTC beside them; relative ones have both when pointed at."""
    zone = {"timezoneId": "Asia/Tokyo"}
    with overridden(browser, "Emulation.setTimezoneOverride", zone, {"timezoneId": ""}):
        browser.get(f"{pages.url}/mail/{ids['ann@example.org']}")
        times = browser.find_elements(By.CSS_SELECTOR, "main time[data-exact]")
        assert times
        for time in times:
            moment = datetime.fromisoformat((time.get_attribute("datetime") or "").replace("Z", "+00:00"))
            assert f"{moment + timedelta(hours=9):%H:%M:%S} GMT+9" in time.text
            assert f"({moment:%Y-%m-%d %H:%M:%S} UTC)" in time.text
        browser.get(f"{pages.url}/failures")
        title = css(browser, "tbody time").get_attribute("title") or ""
        assert "GMT+9" in title
        assert "UTC" in title


def test_charts_have_axes(browser: WebDriver, pages: Site) -> None:
    """What a bar stands for, from when to when in which zone; no chart reaches into the future."""
    browser.get(f"{pages.url}/")
    scales = [re.sub(r"\d+\)", "N)", words) for words in texts(browser, ".scale")]
    assert scales == [
        "Messages in 2 minutes (highest bar: N)",
        "Messages in 30 minutes (highest bar: N)",
    ]
    for axis in browser.find_elements(By.CSS_SELECTOR, ".axis"):
        assert "Time (UTC)" in axis.text
        first, last = (
            datetime.fromisoformat((time.get_attribute("datetime") or "").replace("Z", "+00:00"))
            for time in axis.find_elements(By.TAG_NAME, "time")
        )
        assert first < last <= datetime.now(UTC)
        assert f"{first:%d %b %H:%M}" in axis.text


def test_the_next_probe_of_a_pause(browser: WebDriver, pages: Site, ids: dict[str, int], seeded: Database) -> None:
    """A sender that the relay refuses: its words, what to do, and when one message is tried, in both places."""
    refuse(seeded)
    browser.get(f"{pages.url}/pauses")
    assert REFUSAL in css(browser, "tbody").text
    assert re.fullmatch(r"next probe in \d+m( \d+s)?", css(browser, "tbody .probe").text)
    browser.get(f"{pages.url}/mail/{ids['dora@example.com']}")
    assert REFUSAL in css(browser, "#holding").text
    assert re.match(r"One message is tried again in \d+ min", css(browser, "#holding .probe").text)


def refuse(database: Database) -> None:
    with database.engine.begin() as connection:
        refuse_sender(connection)


def test_long_words_break(browser: WebDriver, pages: Site, seeded: Database) -> None:
    """Nothing sticks out of its page at 390 px, however long a word without a blank is."""
    word = "w" * 200
    with seeded.engine.begin() as connection:
        refused = Try("rcpt", "permanent", 550, "5.1.1", word * 2, note=word)
        mail = Mail(
            {f"{'a' * 60}@{'b' * 60}.example.org": State.FAILED},
            subject=word,
            kind="k" * 60,
            tries=[refused],
            text=word,
            attachments=[(f"{word}.pdf", "application/pdf", b"%PDF")],
            headers={f"X-{'h' * 60}": word},
            ago=100,
        )
        [id] = write(connection, mail)
        write(connection, Mail({f"{'a' * 60}@{'c' * 60}.example.org": State.QUEUED}, subject=word, kind="k" * 60))
        operations.pauses.pause(connection, What.KIND, "k" * 60, by=word, reason=word)
        connection.execute(sa.text("UPDATE outbox_worker SET host = :host"), {"host": word[:150]})
    view = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)
    try:
        too_wide: list[str] = []
        paths = ("/", "/mail", "/failures", "/kinds", "/backlog", "/pauses", "/workers", "/history", f"/mail/{id}")
        for path in (*paths, f"/mail/{id}/source", f"/confirm?action=cancel&id={id}", "/workers/1/question?what=stop"):
            browser.get(pages.url + path)
            if browser.execute_script("return document.documentElement.scrollWidth") > 390:
                too_wide.append(path)
        assert too_wide == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_list_on_a_telephone(browser: WebDriver, pages: Site, seeded: Database) -> None:
    """Replies are whole; the bar with the actions stands at the end, and comes along only once something is ticked."""
    words = "the mailbox is full, and has been for as long as anybody here can remember; " * 4
    with seeded.engine.begin() as connection:
        refused = Try("rcpt", "permanent", 552, "5.2.2", words)
        write(connection, Mail({"full@example.org": State.FAILED}, tries=[refused], reason="refused", ago=1))
    view = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    with overridden(browser, "Emulation.setDeviceMetricsOverride", view, view):
        browser.get(f"{pages.url}/mail?state=failed")
        cut, shown = browser.execute_script(
            "const clips = [...document.querySelectorAll('.c-reply .clip')];"
            "return [clips.filter(one => one.scrollHeight > one.clientHeight + 1).map(one => one.innerText),"
            " getComputedStyle(document.querySelector('.bar')).position]"
        )
        assert cut == []
        assert shown == "static"
        css(browser, "tbody input[type=checkbox]").click()
        place, height = browser.execute_script(
            "const bar = document.querySelector('.bar');"
            "return [getComputedStyle(bar).position, bar.getBoundingClientRect().height]"
        )
        assert place == "sticky"
        assert height < 0.25 * 844
        browser.get(f"{pages.url}/mail?kind=newsletter")  # of any state: with all four actions
        heights = {button.size["height"] for button in browser.find_elements(By.CSS_SELECTOR, ".bar button")}
        assert len(heights) == 1  # each in one line
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_mail_without_a_kind_can_be_listed(browser: WebDriver, pages: Site, seeded: Database) -> None:
    """From the figures by kind to the messages that have none."""
    browser.get(f"{pages.url}/kinds")
    [link] = [
        one for one in browser.find_elements(By.CSS_SELECTOR, "tbody td:first-child a") if one.text == "(no kind)"
    ]
    browser.get(link.get_attribute("href") or "")
    assert texts(browser, "tbody .tag") == []
    assert len(texts(browser, "tbody tr")) == count(seeded, kind=operations.NO_KIND) == 6
    assert texts(browser, ".chips li span") == ["Kind: no kind"]


def test_the_list_begins_on_the_first_screen(browser: WebDriver, pages: Site) -> None:
    """The form of the filter does not push the mail away; the rest of it opens where a filter of it is in force."""
    for width, height in ((1280, 800), (390, 844)):
        view = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width == 390}
        with overridden(browser, "Emulation.setDeviceMetricsOverride", view, view):
            browser.get(f"{pages.url}/mail?state=failed")
            top = browser.execute_script("return document.querySelector('#mails tbody tr').getBoundingClientRect().top")
            assert top < height * 0.6, width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert not css(browser, "#f-metadata").is_displayed()
    browser.get(f"{pages.url}/mail?since=7d")
    assert css(browser, "#f-metadata").is_displayed()


def test_a_refusal_says_who_one_is(browser: WebDriver, pages: Site) -> None:
    """Who may not look learns as whom they are signed in, and whom to ask."""
    pages.rights.view = False
    browser.get(f"{pages.url}/mail")
    assert "You are signed in as ann@example.org." in css(browser, "main").text
    assert "Ask an administrator" in css(browser, "main").text


def test_why_ann_got_nothing(browser: WebDriver, pages: Site) -> None:
    """From the overview: type her address, then one click; the reason is the server's."""
    browser.get(f"{pages.url}/")
    css(browser, "#find").send_keys("ann@example.org", Keys.ENTER)
    until(browser, lambda: "recipient=ann" in browser.current_url)
    assert "The email account that you tried to reach does not exist." in css(browser, "tbody tr").text
    click(browser, "tbody .c-subject a")
    said = css(browser, "section[aria-labelledby=h-state]").text
    assert "Failed (refused): no further attempt unless you requeue it." in said
    assert "550 5.1.1 The email account that you tried to reach does not exist." in said


def test_that_everything_is_refused_and_by_whose_words(browser: WebDriver, pages: Site, seeded: Database) -> None:
    """No click: the overview says how much of it, where, and in which words."""
    with seeded.engine.begin() as connection:
        for number in range(40):  # of so many domains that none is named, however old the other mail is
            mail = Mail({f"user@big{number}.example.org": State.FAILED}, tries=[REFUSED], reason="refused")
            write(connection, mail)
    browser.get(f"{pages.url}/")
    notice = css(browser, "[data-live] .notice.bad").text
    assert "attempts in the last 15 min were refused" in notice
    assert re.search(
        r"by smtp\.example\.com:587 for mail from .*: 550 5\.1\.1 The email account that you tried to reach does not ",
        notice,
    )
    click(browser, "[data-live] .notice.bad a[href*='state=failed']")
    assert "550 5.1.1" in css(browser, "tbody .c-reply").text


def test_that_somebody_paused_everything_last_week(browser: WebDriver, pages: Site, seeded: Database) -> None:
    """No click: the overview says since when, who, and why; the page of pauses has the button that ends it."""
    week = datetime.now(UTC) - timedelta(days=7)
    with seeded.engine.begin() as connection:
        operations.pauses.pause(connection, What.ALL, by="bea@example.org", reason="the relay moves")
        connection.execute(sa.update(PAUSE).values(since=week))
    browser.get(f"{pages.url}/")
    assert "All mail is paused without an end" in css(browser, "[data-live] .notice.bad").text
    assert re.search(
        r"Paused: all, for 7 d.*by bea@example\.org.*: the relay moves\.", css(browser, "[data-live] .notice.warn").text
    )
    click(browser, "[data-live] .notice.bad a[href$='/pauses']")
    row = css(browser, "tbody tr")
    assert "all mail" in row.text
    assert "bea@example.org" in row.text
    assert "7d ago" in row.text
    click(browser, "tbody button")
    assert "Resumed all mail: 3 queued messages are sent when due." in css(browser, "[role=status]").text


def test_send_the_deferred_ones_now(browser: WebDriver, pages: Site, ids: dict[str, int], seeded: Database) -> None:
    """Three clicks and a tick: the tile of the overview, all that match, the button, the question."""
    browser.get(f"{pages.url}/")
    click(browser, "a.tile[href*='waits=deferred']")
    css(browser, "input[name=scope][value=all]").click()
    click(browser, "button[value=send-now]")
    assert css(browser, "h1").text == "Send 1 message now?"
    click(browser, "#do")
    assert "1 message is due now." in css(browser, "[role=status]").text
    assert count(seeded, ids=(ids["long@example.com"],), waiting=True) == 0


def test_a_command_has_a_link_beside_it(browser: WebDriver, pages: Site, seeded: Database) -> None:
    """To the row that it is about; the command itself stays text, and breaks between its words only."""
    with seeded.engine.begin() as connection:
        operations.pauses.pause(connection, What.KIND, "news letter", by="bea@example.org", seconds=900)
    refuse(seeded)
    browser.get(f"{pages.url}/")
    assert "outbox-resume --sender flasky@example.com" in texts(browser, ".notice.bad code")
    narrow = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    with overridden(browser, "Emulation.setDeviceMetricsOverride", narrow, narrow):
        broken = browser.execute_script(
            "const words = one => one.children.length ? [...one.children] : one;"
            "return [...document.querySelectorAll('code')].flatMap(words).filter("
            "one => one.getClientRects().length > 1 || one.offsetHeight > 30).map(one => one.innerText)"
        )
        assert broken == []
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    link = browser.find_element(By.LINK_TEXT, "Show this pause")
    browser.get(link.get_attribute("href") or "")
    assert "flasky@example.com" in css(browser, "tr:target").text
    assert css(browser, "#kind-news_letter").text


def test_which_kind_fails_most(browser: WebDriver, pages: Site) -> None:
    """One click: the kinds are there by how many failed, the worst first."""
    browser.get(f"{pages.url}/")
    click(browser, "nav[aria-label=Main] a[href$='/kinds']")
    assert "The kinds with the most failures come first" in css(browser, "main").text
    assert texts(browser, "tbody tr:first-child td")[:2] == ["newsletter", "37"]
