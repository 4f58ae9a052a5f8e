"""Accounts of people who are not logged in: register, confirm, log in and out, forgotten passwords.

Each view that changes something ends with one commit, for its rows and its mail.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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

SELDOM = "We send at most three in an hour."


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
    """Log `user` in with a fresh session: nothing of what an unknown visitor's held lives on. The caller commits."""
    session.clear()
    session.permanent = True
    models.open_session(db.session, user)
    login_user(user)


@blueprint.route("/register", methods=["GET", "POST"])
def register() -> Response | tuple[str, int]:
    """A new account; mail to its address and to the administrator."""
    if current_user.is_authenticated:
        return redirect(url_for("main.home"))
    form = RegistrationForm()
    if form.validate_on_submit():
        if wait := throttle.wait_for_mail(db.session, request.remote_addr or ""):
            form.form_errors.append(_too_many(wait))
            return render_template("auth/register.html", form=form), 429
        try:
            _register(form)
            db.session.commit()
        except (sa.exc.IntegrityError, models.NameTakenError):  # by another request since the form was checked
            db.session.rollback()
            form.form_errors.append("The user name has just been taken. Please choose another one.")
        else:
            flash(f"We have sent a link to {form.email.data}. Open it to confirm your address.", "success")
            return redirect(url_for("auth.login"))
    return render_template("auth/register.html", form=form), 200


def _too_many(wait: timedelta) -> str:
    return f"Too many attempts. Please try again in {words.minutes(wait)}."


def _register(form: RegistrationForm) -> None:
    """The same work for an address that is known and for one that is not, so that time does not tell.

    Only the insert tells which it is; what is written for one of the two alone is taken back for the other.
    """
    db.session.add(models.UserName(key=models.fold(form.username.data or "")))
    user = User(
        email=form.email.data, username=form.username.data, password=form.password.data, created_at=datetime.now(UTC)
    )
    may_mail = throttle.may_mail(db.session, "register", user.email)
    db.session.flush()
    new = _add(user)
    owner = models.by_email(db.session, user.email)
    if owner is None:
        raise models.NameTakenError
    if not may_mail:
        return
    if new:
        mails.confirm(user)
    else:
        mails.already_registered(owner)
    with db.session.begin_nested() as told:
        mails.new_user(user)
        if not new:
            told.rollback()


def _add(user: User) -> bool:
    """Whether it could be added; not if its address or name is another's."""
    try:
        with db.session.begin_nested():
            db.session.add(user)
    except sa.exc.IntegrityError:
        return False
    return True


@blueprint.get("/confirm/<token>")
def confirm(token: str) -> Response:
    """The link in the first mail, which also takes the password that was chosen with the address.

    The link shows that somebody owns the address, the password that it was they who registered. Whoever registers with
    an address of somebody else can't open the link, and its owner, who can, can't confirm the stranger's account.
    """
    try:
        claims = tokens.read(Purpose.CONFIRM, token)
    except TokenError:
        flash("This link is not valid or has expired. Log in to get a new one.", "error")
        return redirect(url_for("main.home"))
    if not current_user.is_authenticated:
        flash(
            "Log in with the password that you chose, to confirm your address. If you did not register, reset the "
            "password instead: nobody else can use the account after that.",
            "info",
        )
        return redirect(url_for("auth.login", next=request.path))
    user: User = current_user._get_current_object()
    if user.id != claims["user"] or user.email_key != claims["email"]:
        flash("This link belongs to another account, or to an address that is no longer in use.", "error")
        return redirect(url_for("main.home"))
    user.confirmed = True
    db.session.commit()
    flash("Thank you. Your address is confirmed.", "success")
    return redirect(url_for("main.home"))


@blueprint.post("/confirm")
@login_required
def resend_confirmation() -> Response:
    """Send the first mail again."""
    if not current_user.confirmed:
        mails.confirm(current_user)
        db.session.commit()
        flash(f"We have sent a link to {current_user.email}. {SELDOM}", "success")
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
            start_session(user)
            db.session.commit()
            return redirect(target)
        if wait:
            status = 429
            form.form_errors.append(_too_many(wait))
        else:
            form.form_errors.append("Wrong email address or password.")
    return render_template("auth/login.html", form=form), status


@blueprint.post("/logout")
def logout() -> Response:
    """Log out: the session ends here, so that a copy of its cookie is worth nothing either.

    By POST only, so that no picture on another site can do it.
    """
    if current_user.is_authenticated:
        models.close_session(db.session, current_user._get_current_object())
        db.session.commit()
    logout_user()
    session.clear()
    flash("You have been logged out.", "info")
    return redirect(url_for("main.home"))


@blueprint.route("/reset", methods=["GET", "POST"])
def ask_for_reset() -> Response | tuple[str, int]:
    """A forgotten password. The answer does not tell whether there is an account."""
    form = ResetRequestForm()
    if form.validate_on_submit():
        if wait := throttle.wait_for_mail(db.session, request.remote_addr or ""):
            form.form_errors.append(_too_many(wait))
            return render_template("auth/reset_request.html", form=form), 429
        _ask_for_reset(form.email.data or "")
        db.session.commit()
        flash(f"If there is an account with this address, we have sent a link to it. {SELDOM}", "info")
        return redirect(url_for("auth.login"))
    return render_template("auth/reset_request.html", form=form), 200


def _ask_for_reset(email: str) -> None:
    """The same work for an address that is known and for one that is not: there the mail is taken back."""
    user = models.by_email(db.session, email)
    if not throttle.may_mail(db.session, "reset", email):
        return
    with db.session.begin_nested() as written:
        mails.reset_password(user or User(id=0, email=email, username="nobody", stamp=models.new_stamp()))
        if user is None:
            written.rollback()


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
    form.user = user
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
