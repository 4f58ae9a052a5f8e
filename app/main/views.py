"""The home page and the account page."""

from __future__ import annotations

from flask import render_template
from flask_login import login_required

from app.main import blueprint


@blueprint.get("/")
def home() -> str:
    """What this is and what to try."""
    return render_template("home.html")


@blueprint.get("/account")
@login_required
def account() -> str:
    """One's own account."""
    return render_template("account.html")
