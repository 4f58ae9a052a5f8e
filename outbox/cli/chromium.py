"""Pictures of HTML by a Chromium that is installed: one process, spoken to by its DevTools pipe; nothing is loaded."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from outbox.cli.command import Failure
from outbox.core import clock

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
MISSING = (
    f"Screenshots need Chromium or Chrome, and none of {', '.join(NAMES)} is on the PATH. Install it (Debian: apt "
    "install chromium), or name it by the environment variable CHROMIUM."
)
TALLEST = 8000
"""Pixels of a picture."""

_SECONDS = 60.0  # for one answer, on a busy machine
_FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
_MOVING = """
import fcntl, os, sys
pipe = [fcntl.fcntl(int(one), fcntl.F_DUPFD_CLOEXEC, 10) for one in sys.argv[1:3]]
os.dup2(pipe[0], 3)
os.dup2(pipe[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""It speaks by the descriptors 3 and 4, which are often taken here, and no shell moves those beyond 9."""


def found() -> str:
    """The program. Raises Failure where there is none."""
    named = os.environ.get("CHROMIUM")
    program = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        raise Failure(f"CHROMIUM names {named}, which is not a program." if named else MISSING)
    return program


class Browser:
    """One page of it."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._rest, self._count, self._session = b"", 0, ""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._call("Emulation.setScriptExecutionDisabled", value=True)
        self._call("Network.enable")
        self._call(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0
        )

    def picture(self, html: str, width: int, scheme: str) -> bytes:
        """A PNG of the whole of `html`, `width` CSS pixels wide, in the colour scheme "light" or "dark"."""
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._screen(width, 400)
        frame = self._call("Page.getFrameTree")["frameTree"]["frame"]["id"]
        self._call("Page.setDocumentContent", frameId=frame, html=html)
        content = self._call("Page.getLayoutMetrics")["cssContentSize"]
        self._screen(max(width, int(content["width"])), min(max(int(content["height"]), 100), TALLEST))
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def _screen(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        sent = {"id": self._count, "method": method, "params": params}
        if self._session:
            sent["sessionId"] = self._session
        left = json.dumps(sent).encode() + b"\0"
        while left:
            left = left[os.write(self._writes, left) :]
        end = clock.monotonic() + _SECONDS
        while True:
            answer = json.loads(self._next(end))
            if answer.get("id") == self._count:
                break
        if "error" in answer:
            raise Failure(f"Chromium can't do {method}: {answer['error'].get('message')}")
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self, end: float) -> bytes:
        while b"\0" not in self._rest:
            if not select.select([self._reads], [], [], max(0.0, end - clock.monotonic()))[0]:
                raise Failure(f"Chromium did not answer within {_SECONDS:.0f} s.")
            got = os.read(self._reads, 1 << 20)
            if not got:
                raise Failure("Chromium ended by itself. Run it by hand to see why: chromium --headless about:blank")
            self._rest += got
        one, _, self._rest = self._rest.partition(b"\0")
        return one


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a new profile. Raises Failure where none is installed, or it does not start."""
    program = found()
    flags = [*_FLAGS, *(["--no-sandbox"] if os.getuid() == 0 else [])]  # it refuses to run as root with its sandbox
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(  # noqa: S603 - the program is the one that the user has on the PATH
            [
                *(sys.executable, "-c", _MOVING, str(theirs_in), str(theirs_out)),
                *(program, *flags, f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Browser(ours_in, ours_out)
        finally:
            os.close(ours_out)  # it ends when its pipe does
            os.close(ours_in)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            if process.poll() is None:
                process.kill()
                process.wait()
