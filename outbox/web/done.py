"""What the change before this page did, said once, on the page that the change led to.

It is kept in the session and not in the address: a link can't show a success that never was, nor show it again.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import redirect, request, session
from flask.typing import ResponseReturnValue

_IN_SESSION = "outbox_done"


def leading_to(target: str, **said: Any) -> ResponseReturnValue:
    """A redirect to `target`, a page of ours, which says it."""
    session[_IN_SESSION] = {"path": urlsplit(target).path, **said}
    return redirect(target, 303)


def said() -> dict[str, Any] | None:
    """What is to be said on this page, for the first time and the last."""
    kept = session.get(_IN_SESSION)
    if not isinstance(kept, dict) or kept.get("path") != request.script_root + request.path:
        return None
    session.pop(_IN_SESSION)
    return kept
