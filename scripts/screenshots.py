"""Pictures of the pages, wide and narrow, light and dark, made with Chromium from made-up mail.

python -m scripts.screenshots [FOLDER]        every page and message of tests/web/every.py, to look at
                                              (default: instance/screenshots)
python -m scripts.screenshots --docs          the pictures in docs/images
"""

from __future__ import annotations

import base64
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from selenium.webdriver.chrome.webdriver import WebDriver

from outbox.models import Base
from tests.web.chromium import chromium
from tests.web.every import world
from tests.web.seed import meddle_with, seed
from tests.web.site import serving, site

ROOT = Path(__file__).resolve().parent.parent
TALLEST = 3000
FAILED = "ann@example.org"
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
    "confirm": "/confirm?action=requeue&scope=all&state=failed",
    "source": "/mail/{failed}/source",
}
SCHEMES = ("light", "dark")
SIZES = {"wide": (1280, 860, 1), "narrow": (390, 844, 1)}


def main(arguments: list[str]) -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch, chromium(Path(scratch) / "profile") as browser:
        if arguments == ["--docs"]:
            _docs(browser, Path(scratch))
        else:
            _everything(browser, Path(scratch), Path(*arguments) if arguments else ROOT / "instance/screenshots")


def _everything(browser: WebDriver, scratch: Path, folder: Path) -> None:
    with world(scratch) as made:
        for size in SIZES:
            for scheme in SCHEMES:
                for name, address, view in made.views():
                    _screen(browser, size, scheme)
                    made.open(browser, address, view)
                    _picture(browser, size, scheme, folder / f"{name}-{size}-{scheme}.png", whole=True)
                for name in made.messages:
                    _screen(browser, size, scheme)
                    made.show(browser, name)
                    _picture(browser, size, scheme, folder / f"message-{name}-{size}-{scheme}.png", whole=True)


def _docs(browser: WebDriver, scratch: Path) -> None:
    folder = ROOT / "docs/images"
    url = f"sqlite:///{scratch}/pictures.sqlite3"
    engine = sa.create_engine(url)
    Base.metadata.create_all(engine)
    ids = seed(engine, hostile=False)
    with serving(site(url)) as made:
        _screen(browser, "wide", "light")
        browser.get(f"{made.url}/mail")
        _picture(browser, "wide", "light", folder / "admin.png")
        with engine.begin() as connection:
            meddle_with(connection, ids)
        for size in SIZES:
            for scheme in SCHEMES:
                for name, path in DOCS.items():
                    _screen(browser, size, scheme)
                    browser.get(made.url + path.format(failed=ids[FAILED]))
                    _picture(browser, size, scheme, folder / f"{name}-{size}-{scheme}.webp", whole=True)
    engine.dispose()
    with world(scratch) as reference:
        _previews(browser, reference.root, folder)


def _previews(browser: WebDriver, root: str, folder: Path) -> None:
    """Of the gallery: one sample of the reference application."""
    for size in SIZES:
        for scheme in SCHEMES:
            _screen(browser, size, scheme)
            browser.get(f"{root}/admin/previews/confirm/new-user")
            _picture(browser, size, scheme, folder / f"previews-{size}-{scheme}.webp", whole=True)


def _screen(browser: WebDriver, size: str, scheme: str) -> dict[str, Any]:
    width, height, scale = SIZES[size]
    view = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": size == "narrow"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)
    browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    return view


def _picture(browser: WebDriver, size: str, scheme: str, file: Path, *, whole: bool = False) -> None:
    """Of the page that is open."""
    view = _screen(browser, size, scheme)
    if whole:
        content = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        view["height"] = min(max(view["height"], content["height"]), TALLEST)
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)  # what a frame holds is drawn only in view
        browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    kind = {"format": "webp", "quality": 80} if file.suffix == ".webp" else {"format": "png"}
    picture = browser.execute_cdp_cmd("Page.captureScreenshot", kind)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(base64.b64decode(picture["data"]))
    sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
