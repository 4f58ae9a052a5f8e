"""What the change before this page did, said once, on the page that the change led to.

It is kept in the session and not in the address: a link can't show a success that never was, nor show it again.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import redirect, request, session
from flask.typing import ResponseReturnValue

from outbox.web.results import Result

_IN_SESSION = "outbox_done"
_LONGEST = 600  # characters of a text: a session may be a cookie


def leading_to(target: str, *results: Result) -> ResponseReturnValue:
    """A redirect to `target`, a page of ours, which says them."""
    said = [(one.text[:_LONGEST], one.good, one.link) for one in results]
    session[_IN_SESSION] = {"path": urlsplit(target).path, "said": said}
    return redirect(target, 303)


def said() -> list[Result]:
    """What is to be said on this page, for the first time and the last."""
    kept = session.get(_IN_SESSION)
    if not isinstance(kept, dict) or kept.get("path") != request.script_root + request.path:
        return []
    session.pop(_IN_SESSION)
    return [Result(*one) for one in kept["said"]]
