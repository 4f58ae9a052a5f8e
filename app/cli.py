"""Commands of the application itself; the outbox brings its own."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click
import sqlalchemy as sa
from flask import Flask, current_app
from flask.cli import with_appcontext

from app import db, lists, models, passwords
from app.auth.forms import EmailError, normal_email
from app.errors import MIGRATE, lacks_tables
from outbox.cli.command import No

VARIABLE = "FLASKY_ADMIN_PASSWORD"


def init_app(app: Flask) -> None:
    """Register the commands."""
    app.cli.add_command(create_admin)
    app.cli.add_command(send_list)


def database_faults_told(function: Callable[..., None]) -> Callable[..., None]:
    """A command whose database is away, or is not what it expects, fails with one line."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except sa.exc.SQLAlchemyError as error:
            place = current_app.extensions["database"].engine.url.render_as_string(hide_password=True)
            why = " ".join(str(getattr(error, "orig", None) or error).split())
            raise No(
                f"The database at {place} can't be used: {why.rstrip('.?')}. Check that it runs and that DATABASE_URL "
                "is right."
            ) from None

    return wrapped


@click.command("create-admin")
@click.argument("email")
@click.option("--username", help="User name of a new account. Default: made from the address.")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
@with_appcontext
@database_faults_told
def create_admin(email: str, username: str | None, password_stdin: bool) -> None:
    """Make EMAIL an administrator.

    If there is no such account, it is made. The password of a new account is asked for on the terminal, or taken from
    FLASKY_ADMIN_PASSWORD in the environment, or with --password-stdin from standard input; never from the command line,
    where others can read it. An account whose address is confirmed keeps its password. One whose address is not may
    have been made by anybody: it gets a new password in the same way, and whoever is logged in to it is logged out.

    Example: python manage.py create-admin ada@example.org
    """
    try:
        email = normal_email(email)
    except EmailError as error:
        raise click.BadParameter(str(error), param_hint="EMAIL") from None
    if lacks_tables(current_app.extensions["database"].engine):
        raise No(MIGRATE)
    user = models.by_email(db.session, email)
    if user is None:
        name = _username(username, email)
        user = models.User(email=email, username=name, password=_password(password_stdin, email, name))
        db.session.add_all([user, models.UserName(key=models.fold(name))])
        how = ", with a new account"
    elif not user.confirmed:
        user.password = _password(password_stdin, email, user.username)
        user.stamp = models.new_stamp()
        how = ", with a new password, since the address of the account was not confirmed"
    else:
        how = ""
    user.is_admin = user.confirmed = True
    try:
        db.session.commit()
    except sa.exc.IntegrityError:
        raise No("The address or user name has just been taken. Run the command again.") from None
    click.echo(f"{user.email} ({user.username}) is an administrator{how}.")


def _username(wanted: str | None, email: str) -> str:
    if wanted:
        if models.is_name_taken(db.session, wanted):
            raise No(f"The user name {wanted} is taken. Choose another one with --username.")
        return wanted
    name = "".join(c for c in email.partition("@")[0] if c.isascii() and (c.isalnum() or c in "._"))
    name = (name if name[:1].isalpha() else f"admin{name}")[: models.USERNAME_LENGTH - 9]
    return f"{name}_{secrets.token_hex(4)}" if models.is_name_taken(db.session, name) else name


def _password(from_stdin: bool, *about: str) -> str:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif VARIABLE in os.environ:
        password = os.environ[VARIABLE]
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    if wrong := passwords.fault(password, *about):
        raise No(wrong)
    return password


@click.command("send-list")
@click.argument("name", type=click.Choice(sorted(lists.LISTS)))
@click.argument("subject")
@with_appcontext
@database_faults_told
def send_list(name: str, subject: str) -> None:
    """Send the text on standard input to everybody with a confirmed address, as a message of the list NAME.

    Who has unsubscribed gets none: the outbox shows these as failed, with the reason `suppression`.
    """
    text = sys.stdin.read()
    if not text.strip():
        raise No("There is no text on standard input: send-list news SUBJECT < news.txt")
    count = lists.send(db.session, lists.LISTS[name], subject, text)
    db.session.commit()
    click.echo(f"{count} queued.")
