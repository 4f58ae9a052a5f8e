"""Ways through the pages: back and on, questions before changes, what was typed, what a preview may do."""

from __future__ import annotations

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from outbox import operations
from outbox.delivery.states import State
from tests.servers.databases import Database
from tests.web.seed import Mail, write
from tests.web.site import Site
from tests.web.test_pages import click, count, css, recording_server, texts, until


def paused(database: Database) -> list[str]:
    with database.engine.connect() as connection:
        return [str(one) for one in operations.pauses.active(connection)]


def narrow(browser: WebDriver) -> None:
    view = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)


def test_back_after_a_change_of_many(browser: WebDriver, pages: Site, seeded: Database) -> None:
    """Back leads to the question, then to the list, and neither does it a second time."""
    browser.get(f"{pages.url}/mail?state=failed&domain=gone.example.org")
    css(browser, "input[name=scope][value=all]").click()
    click(browser, "button[value=requeue]")
    click(browser, "#do")
    assert "37 messages are queued again and due now." in css(browser, "[role=status]").text
    browser.back()
    until(browser, lambda: css(browser, "h1").text == "Requeue 0 messages?")
    browser.back()
    until(browser, lambda: css(browser, "h1").text == "Mail")
    assert not browser.find_elements(By.CSS_SELECTOR, "[role=status]")
    assert count(seeded, states=(State.FAILED,)) == 4


def test_from_one_mail_to_the_next_and_back_to_the_list(browser: WebDriver, pages: Site) -> None:
    """The page of a mail knows the list that it was opened from, also after a change."""
    browser.get(f"{pages.url}/mail?state=failed&domain=gone.example.org")
    recipients = texts(browser, "tbody .c-recipient")
    second = css(browser, "tbody tr:nth-child(2) .c-subject a")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", second)
    click(browser, "tbody tr:nth-child(2) .c-subject a")
    assert css(browser, "#h-state").text == recipients[1]
    click(browser, "nav.where a[rel=next]")
    assert css(browser, "#h-state").text == recipients[2]
    click(browser, "nav.where a[rel=prev]")
    click(browser, "nav.where a[rel=prev]")
    assert css(browser, "#h-state").text == recipients[0]
    assert not browser.find_elements(By.CSS_SELECTOR, "nav.where a[rel=prev]")
    click(browser, "button[value=requeue]")
    click(browser, "nav.where a")
    assert texts(browser, "tbody .c-recipient") == recipients[1:]


def test_filters_in_force_are_seen_on_a_telephone(browser: WebDriver, pages: Site) -> None:
    """The form is folded there; what it holds stands above the list, and can be taken away one by one."""
    narrow(browser)
    try:
        browser.get(f"{pages.url}/mail?state=failed&domain=gone.example.org&error=5.1.1")
        assert not css(browser, "#f-domain").is_displayed()
        chips = texts(browser, ".chips li")
        assert chips[0].startswith("Recipient's domain: gone.example.org")
        assert chips[1].startswith("Error: 5.1.1")
        click(browser, ".chips li:first-child a")
        assert [chip.split("\n")[0] for chip in texts(browser, ".chips li span")] == ["Error: 5.1.1"]
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_pausing_all_mail_is_asked_first(browser: WebDriver, pages: Site, seeded: Database) -> None:
    """With how much is queued; "Leave it" leads back to the form as it was filled in."""
    browser.get(f"{pages.url}/pauses")
    Select(css(browser, "#f-what")).select_by_value("all")
    css(browser, "#f-reason").send_keys("the relay moves")
    click(browser, "#pause button")
    assert css(browser, "h1").text == "Pause all mail?"
    assert css(browser, "#concerned").text == "3"
    click(browser, "main a.button")
    assert css(browser, "#f-reason").get_attribute("value") == "the relay moves"
    assert paused(seeded) == []
    click(browser, "#pause button")
    click(browser, "#do")
    assert "Paused all mail until" in css(browser, "[role=status]").text
    assert "3 queued messages are held back." in css(browser, "[role=status]").text
    assert paused(seeded) == ["all"]


def test_an_address_is_not_a_domain(browser: WebDriver, pages: Site, seeded: Database) -> None:
    """The page says so, keeps what was typed, and pauses nothing."""
    browser.get(f"{pages.url}/pauses")
    css(browser, "#f-value").send_keys("ann@example.org")
    css(browser, "#f-reason").send_keys("she asked for it")
    click(browser, "#pause button")
    assert "'ann@example.org' is an address, not a domain: give 'example.org'." in css(browser, "[role=alert]").text
    assert css(browser, "#f-value").get_attribute("value") == "ann@example.org"
    assert css(browser, "#f-value").get_attribute("aria-invalid") == "true"
    assert css(browser, "#f-reason").get_attribute("value") == "she asked for it"
    assert paused(seeded) == []


def test_what_was_typed_is_kept(browser: WebDriver, pages: Site, ids: dict[str, int]) -> None:
    """A wrong address is named beside the field that still holds it, in its own spelling."""
    browser.get(f"{pages.url}/mail/{ids['ann@example.org']}?list=state%3Dfailed")
    css(browser, "#correct summary").click()
    css(browser, "#f-note").send_keys("she rang")
    click(browser, "#correct button")
    assert "ann@example.org is already its address." in css(browser, "#f-recipient-error").text
    assert css(browser, "#f-note").get_attribute("value") == "she rang"
    css(browser, "#f-recipient").clear()
    css(browser, "#f-recipient").send_keys("ann@example.com")
    click(browser, "#correct button")
    assert "This message is addressed to ann@example.com, queued" in css(browser, "[role=status]").text
    click(browser, "nav.where a")
    assert "state=failed" in browser.current_url


@pytest.mark.parametrize("target", ["", " target=_self", " target='_top'"])
def test_a_link_in_the_preview_opens_another_tab(
    browser: WebDriver, pages: Site, seeded: Database, target: str
) -> None:
    """The preview stays as it is."""
    with recording_server() as (home, asked_for):
        html = f"<!doctype html><p>shown <a id=link href='{home}/linked'{target}>link</a></p>"
        with seeded.engine.begin() as connection:
            [id] = write(connection, Mail({"eve@example.org": State.SENT}, html=html))
        browser.get(f"{pages.url}/mail/{id}")
        here = browser.current_window_handle
        browser.switch_to.frame(css(browser, "iframe"))
        css(browser, "#link").click()
        until(browser, lambda: "/linked" in asked_for)
        assert css(browser, "p").text == "shown link"
        until(browser, lambda: len(browser.window_handles) == 2)
        for handle in browser.window_handles:
            if handle != here:
                browser.switch_to.window(handle)
                browser.close()
        browser.switch_to.window(here)


def test_healthy_headings_stand_at_the_left(browser: WebDriver, pages: Site, seeded: Database) -> None:
    """Also where nothing failed and the heading stands alone in its line."""
    with seeded.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE outbox_delivery SET finished_at = '2020-01-01' WHERE state = 'failed'")
    browser.get(f"{pages.url}/")
    assert "No failures." in css(browser, "section[aria-labelledby=h-failures]").text
    places = browser.execute_script(
        "return ['h-failures', 'h-workers'].map(id => document.getElementById(id).getBoundingClientRect().left)"
    )
    assert places[0] == places[1]


def test_uncertain_mail_is_one_click_away(browser: WebDriver, pages: Site) -> None:
    """The overview's words about it lead to it."""
    browser.get(f"{pages.url}/")
    click(browser, ".notice.warn a[href*='state=uncertain']")
    assert texts(browser, "tbody .c-recipient") == ["invoice@example.com"]


def test_the_number_of_a_worker_does_not_break(browser: WebDriver, pages: Site) -> None:
    """Host and process are one line or two, and never a number in two halves."""
    browser.get(f"{pages.url}/")
    rects = browser.execute_script("return document.querySelector('.pid').getClientRects().length")
    assert rects == 1


def test_unknown_pages_lead_on(browser: WebDriver, pages: Site) -> None:
    """An address that is none of the pages has their navigation; one slash too many is forgiven."""
    browser.get(f"{pages.url}/nowhere")
    assert css(browser, "h1").text == "Not found"
    assert "Pauses" in texts(browser, "nav[aria-label=Main] a")
    browser.get(f"{pages.url}/mail/?state=uncertain")
    assert texts(browser, "tbody .c-recipient") == ["invoice@example.com"]


def test_the_hint_of_the_search_is_whole(browser: WebDriver, pages: Site) -> None:
    """At both widths what the field asks for can be read."""
    for width in (1280, 390):
        view = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width == 390}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)
        browser.get(f"{pages.url}/mail")
        wide, room = browser.execute_script(
            "const field = document.getElementById('find'), style = getComputedStyle(field);"
            "const context = document.createElement('canvas').getContext('2d'); context.font = style.font;"
            "return [context.measureText(field.placeholder).width,"
            " field.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight)]"
        )
        assert wide <= room, width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_actions_wait_for_a_tick(browser: WebDriver, pages: Site) -> None:
    """Their buttons work once a message is ticked, or all that match are meant; back from the question it still is."""
    browser.get(f"{pages.url}/mail?state=failed&domain=gone.example.org")
    button = css(browser, "button[value=requeue]")
    assert not button.is_enabled()
    css(browser, "input[name=scope][value=all]").click()
    assert button.is_enabled()
    css(browser, "input[name=scope][value=ticked]").click()
    assert not button.is_enabled()
    css(browser, "tbody input[type=checkbox]").click()
    click(browser, "button[value=requeue]")
    assert css(browser, "h1").text == "Requeue 1 message?"
    click(browser, "main a.button")
    assert css(browser, "#ticked").text == "(1)"
    assert css(browser, "button[value=requeue]").is_enabled()
    assert "domain=gone.example.org" in browser.current_url
