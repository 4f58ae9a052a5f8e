"""Who may do what on the pages: one entry for each route and method, and for each action that a route takes.

`tests/unit/web/test_routes.py` fails for a route that is not named here; `tests/flask/test_web_rights.py` tries each
with each right and state, and with sensitive mail and other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from outbox.delivery.states import State

LOOK, READ, ACT, SEND_NOW, ERASE = "view", "read_bodies", "act", "send_now", "erase"

ANY = frozenset(State)
NONE: frozenset[State] = frozenset()
SENT = "sent-invoice@example.org"  # a recipient
CORRECTABLE = frozenset({State.QUEUED, State.FAILED, State.CANCELLED})


@dataclass(frozen=True)
class Route:
    """What one request needs and does. In `path` and `form` stands {id} for the delivery's."""

    path: str
    needs: frozenset[str]
    form: dict[str, str] = field(default_factory=dict)
    shows: bool = False  # what the mail says, to whoever may read it
    changes: frozenset[State] = NONE  # mail in these states; a route without {id} changes the outbox itself
    adds: bool = False  # a message, and leaves that one as it is
    sensitive_too: bool = True  # whether it changes sensitive mail as well
    answers: frozenset[int] = frozenset({200, 303, 400})  # to whoever may: done, or it can't be done to this one


def _needs(*rights: str) -> frozenset[str]:
    return frozenset(rights)


def _action(path: str, action: str, right: str, changes: frozenset[State] = NONE) -> Route:
    return Route(path, _needs(LOOK, right), {"action": action, "id": "{id}"}, changes=changes)


ROUTES: dict[tuple[str, str], list[Route]] = {
    ("overview", "GET"): [Route("/", _needs(LOOK))],
    ("failures", "GET"): [Route("/failures", _needs(LOOK))],
    ("mails", "GET"): [Route("/mail", _needs(LOOK)), Route("/mail?search=cret-tok", _needs(LOOK))],
    ("mail", "GET"): [Route("/mail/{id}", _needs(LOOK), shows=True)],
    ("html", "GET"): [Route("/mail/{id}/html", _needs(LOOK, READ), shows=True)],
    ("source", "GET"): [Route("/mail/{id}/source", _needs(LOOK, READ), shows=True)],
    ("download", "GET"): [Route("/mail/{id}/message.eml", _needs(LOOK, READ), shows=True)],
    ("one_attachment", "GET"): [Route("/mail/{id}/attachments/1", _needs(LOOK, READ), shows=True)],
    ("slashed", "GET"): [Route("/mail/", _needs(LOOK), answers=frozenset({301, 302, 303, 308}))],
    ("unknown", "GET"): [Route("/no/such/page", _needs(LOOK), answers=frozenset({404}))],
    ("ask_to_pause", "GET"): [Route("/pauses/question?what=domain&value=example.org", _needs(LOOK, ACT))],
    ("kinds", "GET"): [Route("/kinds", _needs(LOOK))],
    ("shape", "GET"): [Route("/backlog", _needs(LOOK))],
    ("export", "GET"): [Route("/mail.csv", _needs(LOOK)), Route("/mail.csv?search=cret-tok", _needs(LOOK))],
    ("workers", "GET"): [Route("/workers", _needs(LOOK))],
    ("ask_to_end", "GET"): [Route("/workers/1/question?what=stop", _needs(LOOK, ACT))],
    ("end_worker", "POST"): [Route("/workers/1/end", _needs(LOOK, ACT), {"what": "drain"}, changes=ANY)],
    ("ask_to_send_again", "GET"): [Route("/mail/{id}/again", _needs(LOOK, ACT))],
    ("send_again", "POST"): [
        Route("/mail/{id}/send-again", _needs(LOOK, ACT), changes=frozenset({State.SENT}), adds=True)
    ],
    ("pauses", "GET"): [Route("/pauses", _needs(LOOK))],
    ("history", "GET"): [Route("/history", _needs(LOOK)), Route("/history?reads=1", _needs(LOOK))],
    ("confirm", "GET"): [
        Route("/confirm?action=requeue&id={id}", _needs(LOOK, ACT)),
        Route("/confirm?action=send-now&id={id}", _needs(LOOK, SEND_NOW)),
    ],
    ("act", "POST"): [
        _action("/act", "requeue", ACT, frozenset({State.FAILED, State.UNCERTAIN, State.CANCELLED})),
        _action("/act", "cancel", ACT, frozenset({State.QUEUED, State.FAILED})),
        _action("/act", "mark-sent", ACT, frozenset({State.FAILED, State.UNCERTAIN})),
        _action("/act", "send-now", SEND_NOW, frozenset({State.QUEUED})),
    ],
    ("correct", "POST"): [
        Route(
            "/mail/{id}/recipient",
            _needs(LOOK, READ, ACT),  # it shows the mail to another address
            {"recipient": "eve@evil.example"},
            shows=True,  # where it can't be done, the page of the mail says why
            changes=CORRECTABLE,
            sensitive_too=False,
        )
    ],
    ("pause", "POST"): [Route("/pause", _needs(LOOK, ACT), {"what": "domain", "value": "example.org"}, changes=ANY)],
    ("suppressions", "GET"): [Route("/suppressions", _needs(LOOK))],
    ("suppress", "POST"): [Route("/suppress", _needs(LOOK, ACT), {"address": "ann@example.org"}, changes=ANY)],
    ("ask_to_lift", "GET"): [Route("/suppressions/1/question", _needs(LOOK, ACT))],
    ("lift", "POST"): [Route("/suppressions/1/lift", _needs(LOOK, ACT), changes=ANY)],
    ("batches", "GET"): [Route("/batches", _needs(LOOK))],
    ("ask_to_cancel_batch", "GET"): [
        Route("/batches/question?name=newsletter-7", _needs(LOOK, ACT), answers=frozenset({404}))
    ],
    ("cancel_batch", "POST"): [
        Route("/batches/cancel", _needs(LOOK, ACT), {"name": "newsletter-7"}, answers=frozenset({404}))
    ],
    ("effects", "GET"): [Route("/effects", _needs(LOOK)), Route("/effects?name=shop.note", _needs(LOOK))],
    ("ask_to_change_effects", "GET"): [Route("/effects/question?what=drop&name=shop.note", _needs(LOOK, ACT))],
    ("change_effects", "POST"): [
        Route("/effects/change", _needs(LOOK, ACT), {"what": "run", "name": "shop.note"}, changes=ANY)
    ],
    ("person", "GET"): [Route("/person", _needs(LOOK, ERASE))],
    ("look_up_person", "POST"): [Route("/person/look", _needs(LOOK, ERASE), {"address": SENT})],
    ("erase_person", "POST"): [
        Route("/person/erase", _needs(LOOK, ERASE), {"address": SENT, "again": SENT}, changes=ANY),
        Route("/person/erase", _needs(LOOK, ERASE), {"address": SENT, "again": "another@example.org"}),
    ],
    ("export_person", "POST"): [Route("/person/export", _needs(LOOK, READ, ERASE), {"address": SENT}, changes=ANY)],
    ("speed_up", "POST"): [Route("/speed-up", _needs(LOOK, ACT), {"transport": "mail:25"})],
    ("resume", "POST"): [Route("/resume", _needs(LOOK, ACT), {"what": "kind", "value": "held"}, changes=ANY)],
}
