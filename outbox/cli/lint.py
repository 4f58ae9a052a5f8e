"""`outbox-lint`: what is likely wrong with templates and messages, before readers see it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from outbox import operations
from outbox.cli.command import Command, Failure
from outbox.cli.common import application, console, database, in_app, remark, replica, say, who
from outbox.cli.options import environment_of, environment_options
from outbox.cli.output import print_json, safe
from outbox.cli.text import Text
from outbox.core.errors import DatabaseError
from outbox.extension.previews import languages, make
from outbox.extension.state import bound_to
from outbox.message.lint import Finding, of_message, of_template
from outbox.operations.newest import Newest, newest

FOLDERS = ("mail", "mails", "email", "emails")
"""Where applications have the templates of their mail."""


@click.command("outbox-lint", cls=Command)
@click.argument("path", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--last", type=click.IntRange(1, 1000), metavar="N", help="Check the newest N messages in the outbox.")
@click.option("--id", "ids", type=int, multiple=True, metavar="ID", help="Check the message of this delivery.")
@environment_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def lint(path: tuple[Path, ...], last: int | None, ids: tuple[int, ...], as_json: bool, **options: Any) -> None:
    """Check templates and messages for what is likely wrong.

    Without a PATH, the application's HTML templates in folders named mail or email, and all samples of its mail
    (kind.preview) in all their languages. A PATH is a template, a message (.eml) or a folder of them. Exit code 1 if
    anything was found.

    In messages it finds links that the text part lacks, more HTML than Gmail shows, no preheader, images without alt
    text or without their part, links by http: and relative ones, style sheets that nobody loads, a missing text part,
    placeholders that were not filled in, and addresses and names that look like a slip. In templates it finds what can
    be seen without their values. It is noted in the audit whose messages were read.

    \b
    Examples:
      outbox-lint
      outbox-lint templates/mail/welcome.html
      outbox-lint --last 50
    """
    chosen = environment_of(options)
    if path and (last or ids):
        raise click.UsageError("PATH excludes --last and --id.")
    if path:
        checked = dict(_of_paths(path))
    elif last or ids:
        checked = _of_messages(last, ids, chosen)
    else:
        samples = dict(_of_samples())
        checked = dict(_of_templates(needed=not samples)) | samples
    found = {name: findings for name, findings in checked.items() if findings}
    if as_json:
        print_json({"checked": len(checked), "findings": [_object(name, one) for name in found for one in found[name]]})
    else:
        _print(len(checked), found)
    if found:
        click.get_current_context().exit(1)


def _of_samples() -> Iterator[tuple[str, list[Finding]]]:
    bound = bound_to(application())
    for sample in bound.kinds.samples:
        for locale in languages(bound, sample):
            name = f"sample {sample.id}" + (f" in {locale}" if locale else "")
            try:
                yield name, make(bound, sample, locale).findings()
            except Exception as error:  # noqa: BLE001 - whatever the application's function raises
                problem = f"it can't be made: {type(error).__name__}: {error}"
                yield name, [Finding("sample-fails", problem, "Call its function in a shell to see where.")]


def _of_templates(*, needed: bool) -> Iterator[tuple[str, list[Finding]]]:
    environment = application().jinja_env
    names = [
        name
        for name in environment.list_templates(extensions=["html"])
        if any(folder in FOLDERS for folder in name.split("/")[:-1])
    ]
    if not names or environment.loader is None:
        if not needed:
            return
        raise Failure(f"There is no HTML template in a folder named {', '.join(FOLDERS)}. Give a PATH.")
    for name in names:
        source, _, _ = environment.loader.get_source(environment, name)
        yield name, of_template(source)


def _of_paths(paths: tuple[Path, ...]) -> Iterator[tuple[str, list[Finding]]]:
    for path in paths:
        files = (
            sorted(one for ending in ("html", "eml") for one in path.rglob(f"*.{ending}")) if path.is_dir() else [path]
        )
        if not files:
            raise Failure(f"{path} has neither .html nor .eml in it.")
        for file in files:
            try:
                is_message = file.suffix == ".eml"
                content = file.read_bytes()
                yield str(file), of_message(content) if is_message else of_template(content.decode())
            except (OSError, UnicodeDecodeError) as error:
                raise Failure(f"{file} can't be read: {error}.") from error


def _of_messages(last: int | None, ids: tuple[int, ...], environment: str | None) -> dict[str, list[Finding]]:
    checked = {}
    with operations.connected(replica()) as connection:
        chosen = newest(connection, last, environment=environment) if last else []
        for id in ids:
            detail = operations.show(connection, id)
            if detail is None:
                raise Failure(f"There is no delivery {id}: it was purged, or it is in another database.")
            if detail.redacted_at is not None:
                raise Failure(f"The content of delivery {id} was redacted.")
            chosen.append(Newest(id, detail.message_id, detail.subject))
        for one in chosen:
            name = f"delivery {one.delivery_id}, {one.subject}"
            checked[name] = of_message(operations.wire(connection, one.message_pk))
    _note([one.delivery_id for one in chosen])
    return checked


def _note(ids: list[int]) -> None:
    """For the audit, since links of messages are shown."""
    try:
        with operations.transaction(database()) as connection:
            for id in ids:
                operations.note_look(connection, id, "body", by=who())
    except DatabaseError as error:
        remark(f"It could not be noted in the audit that you read this: {error}")


def _print(checked: int, found: dict[str, list[Finding]]) -> None:
    for name, findings in found.items():
        say(name)
        for one in findings:
            console().print(Text(safe(f"  {one.check}: {one}")))
    count = sum(len(findings) for findings in found.values())
    remark(f"{checked} checked, {count or 'nothing'} found." if checked else "Nothing to check.")


def _object(name: str, one: Finding) -> dict[str, object]:
    return {"in": name, "check": one.check, "problem": one.problem, "remedy": one.remedy}
