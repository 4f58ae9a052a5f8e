"""`outbox-mjml`: MJML → Jinja templates of HTML, when an application is built and never when mail is sent."""

from __future__ import annotations

import re
from pathlib import Path

import click

from outbox.cli.command import Command, Failure, No
from outbox.cli.common import failures_told, say

_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_MARK = re.compile(r"Jinja0(\d+)0ajniJ")
_HEAD = "{{#- Made of {name} by outbox-mjml: change that, and run it again. -#}}\n"


@click.command("outbox-mjml", cls=Command)
@click.argument("path", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 if a template is not up to date.")
def mjml(path: tuple[Path, ...], check: bool) -> None:
    """Compile MJML to the Jinja templates beside it.

    A PATH is a file such as welcome.mjml, which becomes welcome.html, or a folder, of which all .mjml files are
    compiled but those whose names begin with an underscore: these are for mj-include, which finds what is in the
    folder of the file or below. What is between braces, {{ … }} and {% … %}, stays as it is.

    It needs the package mrml on the machine that builds: pip install mrml.

    \b
    Examples:
      outbox-mjml templates/mail
      outbox-mjml --check templates/mail
    """
    with failures_told():
        files = [one for given in path for one in _files(given)]
        stale = [file for file in files if _outdated(file)]
        if check and stale:
            raise No(f"Not up to date: {', '.join(str(_target(one)) for one in stale)}. Run outbox-mjml.")
        if not check:
            for file in stale:
                _target(file).write_text(compiled(file), encoding="utf-8")
                say(f"{_target(file)} is written.")
        say(f"{len(files)} up to date.")


def compiled(file: Path) -> str:
    """The template that `file` becomes. Raises Failure for what is not MJML."""
    try:
        import mrml
    except ImportError:
        raise Failure("outbox-mjml needs mrml. Run `pip install mrml` on the machine that builds.") from None
    kept: list[str] = []

    def set_aside(source: Path) -> str:
        def mark(found: re.Match[str]) -> str:
            kept.append(found[0])
            return f"Jinja0{len(kept) - 1}0ajniJ"

        return _JINJA.sub(mark, source.read_text(encoding="utf-8"))

    try:
        parts = {one.relative_to(file.parent).as_posix(): set_aside(one) for one in file.parent.rglob("*.mjml")}
        named = parts | {f"./{name}": part for name, part in parts.items()}
        options = mrml.ParserOptions(include_loader=mrml.memory_loader(named))
        made = mrml.to_html(set_aside(file), parser_options=options).content
    except (OSError, ValueError) as error:
        raise Failure(f"{file} is not MJML: {error}") from error
    return _HEAD.format(name=file.name) + _MARK.sub(lambda found: kept[int(found[1])], made) + "\n"


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(one for one in path.rglob("*.mjml") if not one.name.startswith("_"))
    if not files:
        raise Failure(f"{path} has no .mjml in it.")
    return files


def _target(file: Path) -> Path:
    return file.with_suffix(".html")


def _outdated(file: Path) -> bool:
    target = _target(file)
    return not target.is_file() or target.read_text(encoding="utf-8") != compiled(file)
