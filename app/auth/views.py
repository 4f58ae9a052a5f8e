"""Accounts of people who are not logged in: register, confirm, log in and out, forgotten passwords.

Each view that changes something ends with one commit, for its rows and its mail.
"""

from __future__ import annotations

import sqlalchemy as sa
from flask import flash, redirect, render_template, request, session, url_for
from flask_login import current_user, login_required, login_user, logout_user
from werkzeug.wrappers import Response

from app import db, models, throttle, tokens, words
from app.auth import blueprint, mails
from app.auth.forms import LoginForm, RegistrationForm, ResetForm, ResetRequestForm
from app.extensions import login_manager
from app.links import local_path
from app.models import User
from app.tokens import Purpose, TokenError


@login_manager.user_loader
def load_user(session_id: str) -> User | None:
    """Flask-Login: whose session is this?"""
    return models.by_session_id(db.session, session_id)


@login_manager.unauthorized_handler
def ask_to_log_in() -> Response:
    """Flask-Login: to the log-in page, and back to where one wanted to go."""
    flash("Please log in to see this page.", "info")
    target = request.full_path.removesuffix("?") if request.method == "GET" else None
    return redirect(url_for("auth.login", next=target))


def start_session(user: User) -> None:
    """Log `user` in with a fresh session: nothing of what an unknown visitor's held lives on."""
    session.clear()
    session.permanent = True
    login_user(user)


@blueprint.route("/register", methods=["GET", "POST"])
def register() -> Response | str:
    """A new account; mail to its address and to the administrator."""
    if current_user.is_authenticated:
        return redirect(url_for("main.home"))
    form = RegistrationForm()
    if form.validate_on_submit():
        try:
            _register(form)
            db.session.commit()
        except sa.exc.IntegrityError:  # by another request since the form was checked
            db.session.rollback()
            form.form_errors.append("The user name or address has just been taken. Please try again.")
        else:
            flash(f"We have sent a link to {form.email.data}. Open it to confirm your address.", "success")
            return redirect(url_for("auth.login"))
    return render_template("auth/register.html", form=form)


def _register(form: RegistrationForm) -> None:
    """The same work for an address that is known and for one that is not, so that time does not tell."""
    user = User(email=form.email.data, username=form.username.data, password=form.password.data)
    known = models.by_email(db.session, user.email)
    if known:
        mails.already_registered(known)
        return
    db.session.add(user)
    db.session.flush()
    mails.confirm(user)
    mails.new_user(user)


@blueprint.get("/confirm/<token>")
def confirm(token: str) -> Response:
    """The link in the first mail. It may be opened more than once, and by anybody who has it."""
    try:
        claims = tokens.read(Purpose.CONFIRM, token)
    except TokenError:
        flash("This link is not valid or has expired. Log in to get a new one.", "error")
        return redirect(url_for("main.home"))
    user = db.session.get(User, claims["user"])
    if user is None or user.email_key != claims["email"]:
        flash("This link belongs to an address that is no longer in use.", "error")
        return redirect(url_for("main.home"))
    user.confirmed = True
    db.session.commit()
    flash("Thank you. Your address is confirmed.", "success")
    return redirect(url_for("main.home" if current_user.is_authenticated else "auth.login"))


@blueprint.post("/confirm")
@login_required
def resend_confirmation() -> Response:
    """The first mail once more."""
    if not current_user.confirmed:
        mails.confirm(current_user)
        db.session.commit()
        flash(f"We have sent a new link to {current_user.email}.", "success")
    return redirect(url_for("main.account"))


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> Response | tuple[str, int]:
    """Log in, then on to `next` if that is a page of this site."""
    form = LoginForm()
    target = local_path(request.args.get("next"), url_for("main.home"))
    if current_user.is_authenticated and request.method == "GET":
        return redirect(target)
    status = 200
    if form.validate_on_submit():
        email, machine = form.email.data or "", request.remote_addr or ""
        wait = throttle.admit(db.session, email, machine)
        user = None if wait else models.authenticate(db.session, email, form.password.data or "")
        if user:
            throttle.forgive(db.session, email, machine)
            db.session.commit()
            start_session(user)
            return redirect(target)
        if wait:
            status = 429
            form.form_errors.append(f"Too many attempts. Please try again in {words.minutes(wait)}.")
        else:
            form.form_errors.append("Wrong email address or password.")
    return render_template("auth/login.html", form=form), status


@blueprint.post("/logout")
def logout() -> Response:
    """Log out. By POST only, so that no picture on another site can do it."""
    logout_user()
    session.clear()
    flash("You have been logged out.", "info")
    return redirect(url_for("main.home"))


@blueprint.route("/reset", methods=["GET", "POST"])
def ask_for_reset() -> Response | str:
    """A forgotten password. The answer does not tell whether there is an account."""
    form = ResetRequestForm()
    if form.validate_on_submit():
        user = models.by_email(db.session, form.email.data or "")
        if user:
            mails.reset_password(user)
            db.session.commit()
        flash("If there is an account with this address, we have sent a link to it.", "info")
        return redirect(url_for("auth.login"))
    return render_template("auth/reset_request.html", form=form)


@blueprint.route("/reset/<token>", methods=["GET", "POST"])
def reset(token: str) -> Response | str:
    """The link in the mail: a new password. Whoever has it has also shown that the address is theirs."""
    try:
        claims = tokens.read(Purpose.RESET, token)
    except TokenError:
        return _void_reset()
    user = models.by_stamp(db.session, claims["user"], claims["stamp"])
    if user is None:
        return _void_reset()
    form = ResetForm()
    if form.validate_on_submit():
        hashed = models.hash_password(form.password.data or "")
        if not models.change_credentials(db.session, user, password_hash=hashed, confirmed=True):
            return _void_reset()
        mails.password_changed(user)
        db.session.commit()
        session.clear()
        flash("Your password was changed. Please log in with the new one.", "success")
        return redirect(url_for("auth.login"))
    return render_template("auth/reset.html", form=form)


def _void_reset() -> Response:
    flash("This link is no longer valid. You can request a new one here.", "error")
    return redirect(url_for("auth.ask_for_reset"))
