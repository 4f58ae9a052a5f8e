"""The home page and the account page."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required
from werkzeug.wrappers import Response

from app import db
from app.extensions import mail
from app.main import blueprint


@blueprint.get("/")
def home() -> str:
    """What this is and what to try."""
    return render_template("home.html")


@blueprint.get("/account")
@login_required
def account() -> str:
    """One's own account, and which mail one wants."""
    lists = mail.subscriptions(current_user.email) if current_user.confirmed else []
    return render_template("account.html", lists=lists)


@blueprint.post("/account/notifications")
@login_required
def save_notifications() -> Response:
    """What is ticked is wanted. Of a confirmed address alone: another may be somebody else's."""
    if current_user.confirmed:
        wanted = request.form.getlist("list")
        for one in mail.subscriptions(current_user.email):
            if one.kind in wanted and not one.on:
                mail.subscribe(current_user.email, one.kind)
            elif one.on and one.kind not in wanted:
                mail.unsubscribe(current_user.email, one.kind)
        db.session.commit()
        flash("Your notification settings were saved.", "success")
    return redirect(url_for("main.account"))
