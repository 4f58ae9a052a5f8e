"""Changes that somebody who is logged in makes to their own account."""

from __future__ import annotations

import sqlalchemy as sa
from flask import flash, redirect, render_template, url_for
from flask_login import current_user, login_required
from werkzeug.wrappers import Response

from app import db, models, throttle, tokens
from app.auth import blueprint, mails
from app.auth.forms import ChangeEmailForm, ChangePasswordForm
from app.auth.views import start_session
from app.models import User
from app.tokens import Purpose, TokenError

ONCE = "We send at most one in 15 minutes."
NOT_YOURS = "The password is not correct."


@blueprint.route("/change-password", methods=["GET", "POST"])
@login_required
def change_password() -> Response | str:
    """A new password; all other sessions of this user end."""
    form = ChangePasswordForm()
    form.user = _me()
    if form.validate_on_submit():
        user = _me()
        if not user.verify_password(form.old_password.data or ""):
            form.old_password.errors = [NOT_YOURS]
        elif models.change_credentials(db.session, user, password_hash=models.hash_password(form.password.data or "")):
            mails.password_changed(user)
            start_session(user)
            db.session.commit()
            flash("Your password was changed. Your other devices have been logged out.", "success")
            return redirect(url_for("main.account"))
        else:
            form.form_errors.append("Your account has just been changed elsewhere. Please try again.")
    return render_template("auth/change_password.html", form=form)


@blueprint.route("/change-email", methods=["GET", "POST"])
@login_required
def ask_to_change_email() -> Response | str:
    """A new address is asked for: a link to it, a notice to the present one."""
    form = ChangeEmailForm()
    if form.validate_on_submit():
        user, wanted = _me(), form.email.data or ""
        if not user.verify_password(form.password.data or ""):
            form.password.errors = [NOT_YOURS]
        elif wanted == user.email:
            form.email.errors = ["This is already your address."]
        else:
            owner = models.by_email(db.session, wanted)
            # one user alone could use up all that the address gets in an hour, and keep others from it
            if throttle.may_mail(db.session, f"change-email {user.id}", wanted, most=1, within=throttle.WINDOW):
                if owner and owner is not user:
                    mails.already_registered(owner)
                else:
                    mails.change_email(user, wanted)
            mails.change_email_notice(user, wanted)
            db.session.commit()
            flash(f"We have sent a link to {wanted}. Open it to confirm your new address. {ONCE}", "success")
            return redirect(url_for("main.account"))
    return render_template("auth/change_email.html", form=form)


@blueprint.get("/change-email/<token>")
@login_required
def change_email(token: str) -> Response:
    """The link in the mail to the new address. Log-in is asked for, so that no mail scanner can follow it."""
    user = _me()
    try:
        claims = tokens.read(Purpose.CHANGE_EMAIL, token)
    except TokenError:
        claims = {}
    if claims.get("user") != user.id or claims.get("stamp") != user.stamp:
        flash("This link is no longer valid.", "error")
        return redirect(url_for("main.account"))
    if _change_email(user, claims["email"]):
        flash(f"Your address is now {user.email}.", "success")
    else:
        flash("This address can no longer be used.", "error")
    return redirect(url_for("main.account"))


def _change_email(user: User, email: str) -> bool:
    old = user.email
    try:
        if not models.change_credentials(db.session, user, email=email, email_key=models.fold(email), confirmed=True):
            return False
        mails.email_changed(user, old)
        start_session(user)
        db.session.commit()
    except sa.exc.IntegrityError:  # somebody else has it by now
        db.session.rollback()
        return False
    return True


def _me() -> User:
    user: User = current_user._get_current_object()
    return user
