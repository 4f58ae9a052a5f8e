"""Pictures of the admin's pages, wide and narrow, light and dark, made with Chromium from made-up mail.

python -m scripts.screenshots [FOLDER]        every page, to look at (default: instance/screenshots)
python -m scripts.screenshots --readme        only docs/images/admin.png
"""

from __future__ import annotations

import base64
import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa
from selenium.webdriver.chrome.webdriver import WebDriver

from outbox.models import Base
from tests.web.chromium import chromium
from tests.web.seed import seed
from tests.web.site import serving, site

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"wide": (1280, 860, 1), "narrow": (390, 844, 1)}


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        url = f"sqlite:///{scratch}/pictures.sqlite3"
        engine = sa.create_engine(url)
        Base.metadata.create_all(engine)
        ids = seed(engine, hostile=arguments != ["--readme"])
        with serving(site(url)) as made, chromium(Path(scratch) / "profile") as browser:
            if arguments == ["--readme"]:
                _picture(browser, f"{made.url}/mail", "wide", "light", ROOT / "docs/images/admin.png")
            else:
                _all(browser, made.url, ids, Path(*arguments) if arguments else ROOT / "instance/screenshots")
        engine.dispose()


def _all(browser: WebDriver, url: str, ids: dict[str, int], folder: Path) -> None:
    pages = {
        "overview": "/",
        "list": "/mail",
        "failed": "/mail?state=failed",
        "failures": "/failures",
        "pauses": "/pauses",
        "history": "/history",
        "mail": f"/mail/{ids['ann@example.org']}",
        "uncertain": f"/mail/{ids['invoice@example.com']}",
        "hostile": f"/mail/{ids['kaputt@example.net']}",
        "source": f"/mail/{ids['ann@example.org']}/source",
        "missing": "/mail/999999",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in pages.items():
        for size in SIZES:
            for scheme in ("light", "dark"):
                _picture(browser, url + path, size, scheme, folder / f"{name}-{size}-{scheme}.png", whole=True)
    browser.get(f"{url}/mail?state=failed")
    browser.find_element("css selector", "input[name=scope][value=all]").click()
    browser.find_element("css selector", "button[value=requeue]").click()
    for size in SIZES:
        _picture(browser, None, size, "light", folder / f"confirm-{size}-light.png", whole=True)


def _picture(browser: WebDriver, url: str | None, size: str, scheme: str, file: Path, *, whole: bool = False) -> None:
    width, height, scale = SIZES[size]
    view = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": size == "narrow"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)
    browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    if url is not None:
        browser.get(url)
    picture = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
    if whole:
        metrics = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": width, "height": min(metrics["height"], 3000), "scale": 1}
        options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        picture = browser.execute_cdp_cmd("Page.captureScreenshot", options)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(base64.b64decode(picture["data"]))
    sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
