"""Requests by urllib that follow no redirect: it would carry a secret on, or lead to a host that nobody has checked."""

from __future__ import annotations

import ssl
import urllib.request
from typing import Any


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def opener(context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    """One that raises HTTPError for a redirect, as for any other answer above 299."""
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirect())
