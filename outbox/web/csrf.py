"""A token that every change must carry: signed, bound to the session, of limited age. It needs no other extension.

Where the application guards all its forms with Flask-WTF's CSRFProtect, the templates send that token along as well.
"""

from __future__ import annotations

import hmac
import secrets

from flask import abort, current_app, request, session
from itsdangerous import BadSignature, URLSafeTimedSerializer

FIELD = "outbox_token"
LIFETIME = 12 * 3600
"""Seconds for which a form can be sent."""

_IN_SESSION = "outbox_csrf"


def token() -> str:
    """A token for a form of this session. Empty without a SECRET_KEY: then nothing can be changed."""
    if not current_app.secret_key:
        return ""
    if _IN_SESSION not in session:
        session[_IN_SESSION] = secrets.token_urlsafe(24)
    return str(_signer().dumps(session[_IN_SESSION]))


def check() -> None:
    """Refuse the request with 400 if it does not carry a token of its own session."""
    if not current_app.secret_key:
        abort(400, "The application has no SECRET_KEY, so no form can be trusted. Set one.")
    try:
        signed = _signer().loads(request.form.get(FIELD, ""), max_age=LIFETIME)
    except BadSignature:
        abort(400, "This form has no valid token: it is too old, or it came from another site. Load the page again.")
    if not isinstance(signed, str) or not hmac.compare_digest(signed, str(session.get(_IN_SESSION, ""))):
        abort(400, "The token of this form belongs to another session. Load the page again.")


def _signer() -> URLSafeTimedSerializer:
    keys = [*(current_app.config.get("SECRET_KEY_FALLBACKS") or ()), current_app.secret_key]
    return URLSafeTimedSerializer(keys, salt="outbox.web.csrf")
