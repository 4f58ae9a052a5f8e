"""The forms of the accounts, and what may stand in them."""

from __future__ import annotations

from typing import Any

from email_validator import EmailNotValidError, validate_email
from flask import current_app
from flask_wtf import FlaskForm
from wtforms import EmailField, Field, PasswordField, StringField, SubmitField
from wtforms.validators import EqualTo, InputRequired, Length, Regexp, ValidationError

from app import db, models, passwords

EmailError = EmailNotValidError


def normal_email(text: str) -> str:
    """`text` as an address in its normal form. Raises EmailError, which says what is wrong. Looks nothing up."""
    reserved_too = current_app.config["APP_ENV"] != "production"  # user@example.test
    return validate_email(text, check_deliverability=False, test_environment=reserved_too).normalized


class Address(EmailField):
    """One e-mail address, normalised."""

    def post_validate(self, form: Any, validation_stopped: bool) -> None:
        """Put the normal form in the place of what was typed."""
        if validation_stopped or not self.data:
            return
        try:
            self.data = normal_email(self.data.strip())
        except EmailError as error:
            raise ValidationError(str(error)) from None


def _address(label: str) -> Address:
    return Address(
        label,
        validators=[InputRequired("Please enter an email address."), Length(max=models.EMAIL_LENGTH)],
        render_kw={"autocomplete": "email"},
    )


def _good_password(form: Any, field: Field) -> None:
    """`form.user`, or else the form's own fields, tell what others know about the account."""
    known = [form.user.email, form.user.username] if form.user else [form.email.data, form.username.data]
    if wrong := passwords.fault(field.data or "", *known, current_app.config["FLASKY_NAME"]):
        raise ValidationError(wrong)


def _new_password(label: str = "Password") -> PasswordField:
    return PasswordField(
        label,
        validators=[InputRequired("Please choose a password."), _good_password],
        description=f"At least {passwords.MIN} characters, and not a common password.",
        render_kw={"autocomplete": "new-password"},
    )


def _repeat_password(label: str, first: str) -> PasswordField:
    return PasswordField(
        label,
        validators=[InputRequired("Please repeat the password."), EqualTo(first, "The passwords do not match.")],
        render_kw={"autocomplete": "new-password"},
    )


def _present_password(label: str) -> PasswordField:
    return PasswordField(
        label,
        validators=[InputRequired("Please enter your password."), Length(max=passwords.MAX)],
        render_kw={"autocomplete": "current-password"},
    )


class RegistrationForm(FlaskForm):
    """A new account. Whether the address is known is told to its owner only, by mail."""

    user: models.User | None = None

    email = _address("Email address")
    username = StringField(
        "User name",
        validators=[
            InputRequired("Please choose a user name."),
            Length(1, models.USERNAME_LENGTH),
            Regexp(
                r"[A-Za-z][A-Za-z0-9_.]*\Z",
                message="Start with a letter, and use only letters, digits, dots and underscores.",
            ),
        ],
        description="Visible to others. Letters, digits, dots and underscores.",
        render_kw={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"},
    )
    password = _new_password()
    password2 = _repeat_password("Password again", "password")
    submit = SubmitField("Register")

    def validate_username(self, field: Field) -> None:
        """Names are public, so that one is taken may be said."""
        if models.is_name_taken(db.session, field.data or ""):
            raise ValidationError("This user name is taken.")


class LoginForm(FlaskForm):
    """Who is it?"""

    email = StringField(
        "Email address",
        validators=[InputRequired("Please enter your email address."), Length(max=models.EMAIL_LENGTH)],
        render_kw={"type": "email", "autocomplete": "username"},
    )
    password = _present_password("Password")
    submit = SubmitField("Log in")


class ResetRequestForm(FlaskForm):
    """Somebody forgot a password."""

    email = _address("Email address")
    submit = SubmitField("Send me a link")


class ResetForm(FlaskForm):
    """A new password, for somebody who came by the link in a mail."""

    user: models.User | None = None

    password = _new_password("New password")
    password2 = _repeat_password("Repeat the new password", "password")
    submit = SubmitField("Set password")


class ChangePasswordForm(FlaskForm):
    """A new password, for somebody who knows the old one."""

    user: models.User | None = None

    old_password = _present_password("Current password")
    password = _new_password("New password")
    password2 = _repeat_password("Repeat the new password", "password")
    submit = SubmitField("Change password")


class ChangeEmailForm(FlaskForm):
    """A new address; it counts once the link that is sent to it was opened."""

    email = _address("New email address")
    password = _present_password("Your password")
    submit = SubmitField("Change address")
