"""A person's request: what is stored of an address is counted, exported, erased.

The address is sent by POST alone, so that it is in no address line and no access log.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from flask import Response, abort, render_template, request, url_for
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.core.errors import MessageError
from outbox.core.loggers import get_logger
from outbox.extension.state import bound_to
from outbox.extension.subscribing import listed, lists
from outbox.message.addresses import parse
from outbox.operations import export_person, person_files
from outbox.operations.erase import erase as erase_address
from outbox.web import content, csrf, done, filter_form, results, template_helpers
from outbox.web.current import application, engine, settings
from outbox.web.rights import Right, actor

log = get_logger("outbox.web")

SECONDS = 15.0
"""How long a request reads through what is stored; beyond it is the command's work."""

MOST = 1_000
"""Deliveries that are exported by a request."""


def asked() -> ResponseReturnValue:
    """The form."""
    return _page()


def looked_up() -> ResponseReturnValue:
    """How much there is, and what can be done about it."""
    csrf.check()
    try:
        address = _address()
    except MessageError as error:
        return _page(error=template_helpers.sentence(str(error))), 400
    with operations.guarded(engine()):
        found = erase_address(
            engine(),
            address,
            address_key=settings().address_digest_key,
            by=actor(),
            dry_run=True,
            seconds=SECONDS,
        )
    return _page(address, found=found)


def erase() -> ResponseReturnValue:
    """Erase it, where the address was typed once more."""
    csrf.check()
    address = _address()
    if request.form.get("again", "").strip() != address:
        return _page(address, error="Nothing was erased: type the address once more, exactly as it is shown."), 400
    with operations.guarded(engine()):
        erased = erase_address(
            engine(),
            address,
            address_key=settings().address_digest_key,
            by=actor(),
            note=filter_form.note(request.form),
            seconds=SECONDS,
        )
    log.info("status=erased by=%r digest=%s deliveries=%d", actor(), erased.digest, erased.deliveries)
    count = results.messages(erased.deliveries)
    said = f"Erased: {count} to the address; of these {template_helpers.number(erased.cancelled)} cancelled."
    if erased.is_whole:
        return done.leading_to(url_for(".person"), results.Result(said))
    left = (
        "Not everything is erased yet: something is being sent, is still to be sent to others, or there is much to read"
    )
    return done.leading_to(
        url_for(".person"), results.Result(f"{said} {left}. Do it again later, or run outbox-erase.", False)
    )


def export() -> ResponseReturnValue:
    """A zip file of what is stored."""
    csrf.check()
    address, bound = _address(), bound_to(application())
    key = settings().address_digest_key
    with operations.guarded(engine()):
        if export_person.count(engine(), address, address_key=key, most=MOST) > MOST:
            return _page(address, error=f"There are over {MOST:,} messages to it: run outbox-export."), 400
        with tempfile.TemporaryDirectory() as scratch:
            where, zipped = Path(scratch) / "files", Path(scratch) / "person.zip"
            written = export_person.export(
                engine(),
                address,
                where,
                lists=listed(bound),
                titles={one.name: one.label for one in lists(bound)},
                by=actor(),
                note=filter_form.note(request.form),
                seconds=SECONDS,
            )
            if written.cut:
                return _page(address, error="There is too much to read for a page: run outbox-export."), 400
            person_files.zipped(where, zipped)
            data = zipped.read_bytes()
    log.info("status=exported by=%r digest=%s messages=%d", actor(), written.digest, written.messages)
    response: Response = content.as_file(data, f"person-{written.digest[:8]}.zip", "application/zip")
    return response


def _address() -> str:
    try:
        return parse(request.form.get("address", ""), "address").envelope
    except MessageError:
        if request.endpoint and request.endpoint.endswith(".look_up_person"):
            raise
        abort(400, "That is not an address.")


def _page(address: str | None = None, found: object = None, error: str | None = None) -> str:
    typed = address or request.form.get("address") or request.args.get("address") or ""
    return render_template("outbox_admin/person.html", address=address, typed=typed[:320], found=found, error=error)


VIEWS = (
    ("/person", "person", "GET", (Right.VIEW, Right.ERASE), asked),
    ("/person/look", "look_up_person", "POST", (Right.VIEW, Right.ERASE), looked_up),
    ("/person/erase", "erase_person", "POST", (Right.VIEW, Right.ERASE), erase),
    ("/person/export", "export_person", "POST", (Right.VIEW, Right.READ_BODIES, Right.ERASE), export),
)
