"""Serves a WSGI application on 127.0.0.1 until SIGTERM; running requests are finished."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

import waitress

from devserver import HOST


def serve(application: Any, port: int) -> None:
    """Returns when the process is asked to stop."""
    signal.signal(signal.SIGTERM, _leave)
    waitress.serve(application, host=HOST, port=port, threads=4, ident=None, _quiet=True)


def _leave(signum: int, frame: FrameType | None) -> None:
    sys.exit(0)  # waitress ends its loop and waits for its threads
