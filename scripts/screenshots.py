"""Pictures of the admin's pages, wide and narrow, light and dark, made with Chromium from made-up mail.

python -m scripts.screenshots [FOLDER]        every page, hostile mail too, to look at (default: instance/screenshots)
python -m scripts.screenshots --docs          the pictures in docs/images
"""

from __future__ import annotations

import base64
import logging
import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa
from selenium.webdriver.chrome.webdriver import WebDriver

from outbox.models import Base
from tests.web.chromium import chromium
from tests.web.seed import meddle_with, seed
from tests.web.site import serving, site

ROOT = Path(__file__).resolve().parent.parent
TALLEST = 3000
MAILS = {
    "failed": "ann@example.org",
    "uncertain": "invoice@example.com",
    "hostile": "kaputt@example.net",
    "sent": "reader0@example.com",
}
DOCS = {
    "overview": "/",
    "list": "/mail?state=failed",
    "failures": "/failures",
    "kinds": "/kinds",
    "backlog": "/backlog",
    "workers": "/workers",
    "pauses": "/pauses",
    "history": "/history",
    "mail": "/mail/{failed}",
    "source": "/mail/{failed}/source",
}
MORE = {
    "all": "/mail",
    "none": "/mail?state=failed&subject=nothing+like+it",
    "uncertain": "/mail/{uncertain}",
    "hostile": "/mail/{hostile}",
    "missing": "/mail/999999",
    "filtered": "/mail?state=failed&error=5.1.1&domain=gone.example.org",
    "wrong": "/mail?domain=ann@example.org",
    "pausing": "/pauses/question?what=all",
    "stopping": "/workers/1/question?what=stop",
    "again": "/mail/{sent}/again",
}
SIZES = {"wide": (1280, 860, 1), "narrow": (390, 844, 1)}


def main(arguments: list[str]) -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    docs = arguments == ["--docs"]
    with tempfile.TemporaryDirectory() as scratch:
        url = f"sqlite:///{scratch}/pictures.sqlite3"
        engine = sa.create_engine(url)
        Base.metadata.create_all(engine)
        ids = seed(engine, hostile=not docs)
        with serving(site(url)) as made, chromium(Path(scratch) / "profile") as browser:
            if docs:
                _picture(browser, f"{made.url}/mail", "wide", "light", ROOT / "docs/images/admin.png")
            with engine.begin() as connection:
                meddle_with(connection, ids)
            if docs:
                _all(browser, made.url, ids, ROOT / "docs/images", DOCS, ".webp")
            else:
                folder = Path(*arguments) if arguments else ROOT / "instance/screenshots"
                _all(browser, made.url, ids, folder, DOCS | MORE, ".png")
        engine.dispose()


def _all(browser: WebDriver, url: str, ids: dict[str, int], folder: Path, pages: dict[str, str], suffix: str) -> None:
    for size in SIZES:
        for scheme in ("light", "dark"):
            for name, path in pages.items():
                address = url + path.format(**{key: ids.get(address, 0) for key, address in MAILS.items()})
                _picture(browser, address, size, scheme, folder / f"{name}-{size}-{scheme}{suffix}", whole=True)
            browser.get(f"{url}/mail?state=failed")
            browser.find_element("css selector", "input[name=scope][value=all]").click()
            browser.find_element("css selector", "button[value=requeue]").click()
            _picture(browser, None, size, scheme, folder / f"confirm-{size}-{scheme}{suffix}", whole=True)


def _picture(browser: WebDriver, url: str | None, size: str, scheme: str, file: Path, *, whole: bool = False) -> None:
    width, height, scale = SIZES[size]
    view = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": size == "narrow"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)
    browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    if url is not None:
        browser.get(url)
    if whole:
        content = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        view["height"] = min(max(height, content["height"]), TALLEST)
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)  # what a frame holds is drawn only in view
        browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    kind = {"format": "webp", "quality": 80} if file.suffix == ".webp" else {"format": "png"}
    picture = browser.execute_cdp_cmd("Page.captureScreenshot", kind)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(base64.b64decode(picture["data"]))
    sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
