"""`outbox-preview`: the samples of an application's mail, as files and as pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import click

from outbox.cli import chromium
from outbox.cli.command import Command, Failure
from outbox.cli.common import application, console, in_app, remark, say
from outbox.cli.output import print_json, safe
from outbox.cli.tables import Column, print_table
from outbox.cli.text import Text
from outbox.extension.previews import Made, languages, make
from outbox.extension.samples import Sample
from outbox.extension.state import Bound, bound_to
from outbox.message.preview import preview as taken_apart
from outbox.message.schemes import in_scheme

PICTURES = (("wide", 700, "light"), ("narrow", 320, "light"), ("wide-dark", 700, "dark"), ("narrow-dark", 320, "dark"))
"""Ending of the file, width in pixels, scheme."""


@click.command("outbox-preview", cls=Command)
@click.argument("sample", nargs=-1)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write each sample there, as .eml and .html.",
)
@click.option("--screenshots", is_flag=True, help="With --to: also a picture of each, wide, narrow and dark (.png).")
@click.option("--locale", metavar="TAG", help="Only in this language.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def preview(sample: tuple[str, ...], folder: Path | None, screenshots: bool, locale: str | None, as_json: bool) -> None:
    """List the samples of mail, or write them into files.

    A sample is a message with made-up values that the application registers for a kind (kind.preview). SAMPLE is one
    as the list shows it, or a kind; by default all of them. Each is listed with its languages, the KB of its HTML and
    how many warnings outbox-lint has for it. Nothing is enqueued. Screenshots need Chromium or Chrome: the one on the
    PATH, or the one that the environment variable CHROMIUM names.

    Exit code 1 if a sample can't be made.

    \b
    Examples:
      outbox-preview
      outbox-preview password-reset --to /tmp/previews
      outbox-preview --to /tmp/previews --screenshots
    """
    if screenshots and folder is None:
        raise click.UsageError("--screenshots needs --to FOLDER.")
    bound = bound_to(application())
    chosen = _chosen(bound, sample)
    made, failed = _made(bound, chosen, locale)
    files = [] if folder is None else list(_written(folder, made, screenshots=screenshots))
    if as_json:
        print_json({"samples": [_object(one) for one in made], "failed": failed, "files": list(map(str, files))})
    elif folder is None:
        _print(made)
    else:
        for file in files:
            say(str(file))
    for id, problem in failed.items():
        remark(f"{id} can't be made: {problem}")
    if failed:
        click.get_current_context().exit(1)


def _chosen(bound: Bound, asked: tuple[str, ...]) -> list[Sample]:
    known = list(bound.kinds.samples)
    if not known:
        raise Failure("No sample is registered. Write one with kind.preview: docs/previews.md.")
    for one in asked:
        if not any(one in (sample.id, sample.kind) for sample in known):
            raise Failure(f"There is no sample or kind {one!r}. outbox-preview lists those that there are.")
    return [sample for sample in known if not asked or sample.id in asked or sample.kind in asked]


def _made(bound: Bound, chosen: list[Sample], locale: str | None) -> tuple[list[Made], dict[str, str]]:
    made, failed = [], {}
    for sample in chosen:
        for tag in languages(bound, sample):
            if locale is not None and (tag or "").lower() != locale.lower():
                continue
            try:
                made.append(make(bound, sample, tag))
            except Exception as error:  # noqa: BLE001 - whatever the application's function raises
                failed[sample.id] = f"{type(error).__name__}: {error}"
    if not made and not failed:
        raise Failure(f"No sample is made in the language {locale!r}.")
    return made, failed


def _written(folder: Path, made: list[Made], *, screenshots: bool) -> Iterator[Path]:
    with chromium.browser() if screenshots else nullcontext() as browser:
        folder.mkdir(parents=True, exist_ok=True)
        for one in made:
            html = taken_apart(one.wire, inline_images=True).html
            name = "-".join([*one.sample.id.split("/"), *([one.locale] if one.locale else [])])
            yield _file(folder / f"{name}.eml", one.wire)
            if html is not None:
                yield _file(folder / f"{name}.html", html.encode("utf-8", "replace"))
                if browser is not None:
                    for ending, width, scheme in PICTURES:
                        picture = browser.picture(in_scheme(html, scheme), width, scheme)
                        yield _file(folder / f"{name}-{ending}.png", picture)


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _print(made: list[Made]) -> None:
    columns = [
        Column("SAMPLE", ratio=2, wrap=True),
        Column("LANGUAGE"),
        Column("SUBJECT", ratio=1),
        Column("HTML KB", right=True),
        Column("WARNINGS", right=True),
    ]
    print_table(console(), columns, [_cells(one) for one in made])


def _cells(one: Made) -> list[Text]:
    size, warnings = _html_size(one), len(one.findings())
    return [
        Text(safe(one.sample.id)),
        Text(safe(one.locale or "-")),
        Text(safe(one.composed.subject)),
        Text("-" if size is None else f"{size / 1024:.1f}"),
        Text(str(warnings), style="red" if warnings else "dim"),
    ]


def _html_size(one: Made) -> int | None:
    html = taken_apart(one.wire).html
    return None if html is None else len(html.encode("utf-8", "replace"))


def _object(one: Made) -> dict[str, object]:
    return {
        "sample": one.sample.id,
        "kind": one.sample.kind,
        "name": one.sample.name,
        "locale": one.locale,
        "subject": one.composed.subject,
        "html_bytes": _html_size(one),
        "warnings": [{"check": found.check, "problem": found.problem} for found in one.findings()],
    }
