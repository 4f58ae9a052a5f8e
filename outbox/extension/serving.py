"""Whether this process serves an application: told by what its threads are doing, not by what it was started with.

A server's loop is a function that is running in one of the threads, and only in the processes that answer: not in the
one that forks them, not in that of a reloader, a command or a shell. So nothing need be configured for each server, and
nothing of it is changed.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

LOOPS = (  # the module, or how its name begins, and the function
    ("gunicorn.workers.", "run"),
    ("werkzeug.serving", "serve_forever"),
    ("waitress.server", "run"),
    ("gevent.baseserver", "serve_forever"),
    ("cheroot.server", "serve"),
    ("uvicorn.server", "run"),
)
_RECORDING_SECONDS = 5.0  # of the server's grace period, for what comes after the last message


@dataclass(frozen=True, slots=True)
class Server:
    """The server whose loop runs in this process."""

    name: str
    loop: Any = None  # the object that has it, where there is one

    @property
    def is_ending(self) -> bool:
        """Whether it was told to stop, and is still answering what had come in."""
        return getattr(self.loop, "alive", True) is False  # gunicorn's workers say so

    @property
    def grace(self) -> float | None:
        """Seconds that a worker has to finish what it is sending; None: the server does not say."""
        seconds = getattr(getattr(self.loop, "cfg", None), "graceful_timeout", None)
        return max(1.0, float(seconds) - _RECORDING_SECONDS) if isinstance(seconds, int | float) else None


def server() -> Server | None:
    """The server that is running in this process now; None: none that is known."""
    if (uwsgi := sys.modules.get("uwsgi")) is not None:
        return Server("uWSGI") if _serves(uwsgi) else None
    for frame in _frames():
        name, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if any(name.startswith(module) and function == loop for module, loop in LOOPS):
            return Server(name.partition(".")[0], frame.f_locals.get("self"))
    return None


def is_served(environ: Mapping[str, Any]) -> bool:
    """Whether a request came in by a server, and not from a test client."""
    of_server = ("SERVER_SOFTWARE", "uwsgi.version", "mod_wsgi.version")
    return any(name in environ for name in of_server) or bool(environ.get("wsgi.multithread"))


def hindrance() -> str | None:
    """Why threads of ours could not run beside this server; None: they can."""
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is not None and not {"enable-threads", "threads"} & uwsgi.opt.keys():
        return "uWSGI runs no threads. Start it with --enable-threads"
    return None


def _serves(uwsgi: Any) -> bool:
    """Its loop is not Python's: while it waits, the main thread has no frame but that of the program, if any."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return uwsgi.worker_id() > 0 and not uwsgi.mule_id() and (frame is None or frame.f_back is None)


def _frames() -> Iterator[FrameType]:
    innermost: list[FrameType | None] = list(sys._current_frames().values())
    greenlet = sys.modules.get("greenlet")
    if greenlet is not None:  # under gevent all run in one thread, of which only what is running now is seen
        root = greenlet.getcurrent()
        while root.parent is not None:
            root = root.parent
        innermost.append(root.gr_frame)
    for frame in innermost:
        while frame is not None:
            yield frame
            frame = frame.f_back
