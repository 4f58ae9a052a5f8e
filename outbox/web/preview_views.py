"""The gallery's pages: the list of samples, one sample, its HTML as a document of its own, its source."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Response, abort, make_response, render_template, request
from flask.typing import ResponseReturnValue

from outbox.core.loggers import get_logger
from outbox.extension.previews import Made, fingerprint, languages, make
from outbox.extension.samples import Sample
from outbox.extension.state import Bound, bound_to
from outbox.message.lint import LARGEST
from outbox.message.preview import preview
from outbox.message.schemes import SCHEMES, has_dark_mode, in_scheme
from outbox.web.content import SOURCE_SHOWN, as_document, as_file
from outbox.web.current import application

log = get_logger("outbox.web")


@dataclass(frozen=True, slots=True)
class Frame:
    """One rendering on the page of a sample. `width`: CSS pixels."""

    title: str
    size: str  # a class of the style sheet
    width: int
    scheme: str


FRAMES = tuple(
    Frame(f"{title}, {scheme}", size, width, scheme)
    for scheme in SCHEMES
    for title, size, width in (("Wide", "wide", 700), ("Narrow", "narrow", 320))
)


def index() -> ResponseReturnValue:
    """Every kind and its samples; kinds without one are named as well."""
    bound = bound_to(application())
    listed: dict[str, list[tuple[Sample, list[str | None]]]] = {policy.name: [] for policy in bound.kinds}
    for one in bound.kinds.samples:
        listed[one.kind].append((one, languages(bound, one)))
    return render_template("outbox_previews/index.html", kinds=listed, **_watched(bound))


def sample(kind: str, name: str) -> ResponseReturnValue:
    """One sample in one locale: each rendering, text, source, headers, size, warnings."""
    bound, found = found_sample(kind, name)
    locales = languages(bound, found)
    shown = {"sample": found, "locales": locales, "locale": locale_asked(locales), **_watched(bound)}
    try:
        made = make(bound, found, shown["locale"])  # type: ignore[arg-type]
    except Exception as error:  # whatever the application's function raises is what its author wants to see
        log.exception("status=sample-failed sample=%s", found.id)
        problem = f"{type(error).__name__}: {error}"
        return make_response(render_template("outbox_previews/sample.html", made=None, problem=problem, **shown), 500)
    wire = made.wire
    mail = preview(wire)
    return render_template(
        "outbox_previews/sample.html",
        made=made,
        mail=mail,
        total=len(wire),
        html_size=len((mail.html or "").encode(errors="replace")),
        largest=LARGEST,
        findings=made.findings(),
        has_dark_mode=has_dark_mode(mail.html or ""),
        frames=FRAMES if mail.html is not None else (),
        source=wire[:SOURCE_SHOWN].decode("utf-8", "backslashreplace").replace("\r\n", "\n"),
        is_cut=len(wire) > SOURCE_SHOWN,
        sink=bound.settings.redirect_to,
        **shown,
    )


def html(kind: str, name: str) -> ResponseReturnValue:
    """The HTML in light or dark mode, as a document of its own (decision 0004)."""
    scheme = request.args.get("scheme", "light")
    content = preview(_made(kind, name).wire, inline_images=True).html
    if content is None or scheme not in SCHEMES:
        abort(404, "This sample has no HTML part.")
    return as_document(in_scheme(content, scheme), remote=True)


def source(kind: str, name: str) -> ResponseReturnValue:
    """The exact bytes, as a text."""
    response = make_response(_made(kind, name).wire)
    response.headers["Content-Type"] = "text/plain; charset=utf-8"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def download(kind: str, name: str) -> ResponseReturnValue:
    """The exact bytes, as a file."""
    made = _made(kind, name)
    file = "-".join([*made.sample.id.split("/"), *([made.locale] if made.locale else [])])
    return as_file(made.wire, f"{file}.eml", "message/rfc822")


def changes() -> ResponseReturnValue:
    """A text that is another when a template is: the pages ask for it and load themselves again."""
    return Response(fingerprint(bound_to(application())), mimetype="text/plain")


def found_sample(kind: str, name: str) -> tuple[Bound, Sample]:
    """Ends the request with 404 where there is none."""
    bound = bound_to(application())
    found = bound.kinds.samples.get(f"{kind}/{name}")
    if found is None:
        abort(404, "There is no such sample. It may have been renamed.")
    return bound, found


def locale_asked(locales: list[str | None]) -> str | None:
    """The one that the request names, or the first. Ends it with 404 for another."""
    asked = request.values.get("locale") or locales[0]
    if asked not in locales:
        abort(404, "This sample is not made in that language.")
    return asked


def _made(kind: str, name: str) -> Made:
    bound, found = found_sample(kind, name)
    return make(bound, found, locale_asked(languages(bound, found)))


def _watched(bound: Bound) -> dict[str, str | None]:
    """What the script compares; None where templates are not read again."""
    return {"fingerprint": fingerprint(bound) if bound.app.jinja_env.auto_reload else None}


VIEWS = (
    ("/", "index", index),
    ("/changes", "changes", changes),
    ("/<kind>/<name>", "sample", sample),
    ("/<kind>/<name>/html", "html", html),
    ("/<kind>/<name>/source", "source", source),
    ("/<kind>/<name>/message.eml", "download", download),
)
