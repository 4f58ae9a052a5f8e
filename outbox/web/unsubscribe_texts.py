"""What the page behind an unsubscribe link says, in the reader's language.

The application's own translations go before (Flask-Babel's gettext, by the English text); then ours, by what
Flask-Babel or the browser asks for; then English.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask import request
from markupsafe import Markup

from outbox.extension.locales import of_request

GERMAN: Mapping[str, str] = {
    "Unsubscribe?": "Abmelden?",
    "You are unsubscribed": "Sie sind abgemeldet",
    "Unsubscribed": "Abgemeldet",
    "Not now": "Gerade nicht möglich",
    "Subscribed again": "Wieder angemeldet",
    "Saved": "Gespeichert",
    "This link does not work": "Dieser Link funktioniert nicht",
    "Not sent at present: mail to this address came back.": (
        "Wird zurzeit nicht gesendet: E-Mails an diese Adresse kamen zurück."
    ),
    "Not sent: mail to this address was reported as spam.": (
        "Wird nicht gesendet: E-Mails an diese Adresse wurden als Spam gemeldet."
    ),
    "Not sent: the sender has stopped it.": "Wird nicht gesendet: Der Absender hat es angehalten.",
    "{address} is subscribed to the list {title}.": "{address} hat die Liste {title} abonniert.",
    "Mail of the list {title} goes to {address}.": "E-Mails der Liste {title} gehen an {address}.",
    "Unsubscribe from {title}": "Von {title} abmelden",
    "Unsubscribe from all lists": "Von allen Listen abmelden",
    "You will still get what you need: receipts, and mail to reset a password.": (
        "Was Sie brauchen, bekommen Sie weiterhin: Belege und E-Mails zum Zurücksetzen eines Passworts."
    ),
    "{address} gets no mail of any list.": "{address} bekommt keine E-Mails von Listen.",
    "{address} gets no mail of the list {title}.": "{address} bekommt keine E-Mails der Liste {title}.",
    "Subscribe to {title} again": "{title} wieder abonnieren",
    "Undo for all lists": "Für alle Listen rückgängig machen",
    "{address} gets no more mail of any list.": "{address} bekommt keine E-Mails von Listen mehr.",
    "{address} gets no more mail of the list {title}.": "{address} bekommt keine E-Mails der Liste {title} mehr.",
    "Subscribe again": "Wieder anmelden",
    "{address} is back on the lists that it was on before:": "{address} ist wieder auf den Listen wie zuvor:",
    "{address} gets mail of all lists again.": "{address} bekommt wieder E-Mails aller Listen.",
    "{address} is subscribed to the list {title} again.": "{address} hat die Liste {title} wieder abonniert.",
    "{address} gets mail of the list {title} again.": "{address} bekommt wieder E-Mails der Liste {title}.",
    "This is what {address} gets from now on.": "Das bekommt {address} von jetzt an.",
    "This could not be stored just now. Try again in a minute.": (
        "Das konnte gerade nicht gespeichert werden. Versuchen Sie es in einer Minute noch einmal."
    ),
    "It is incomplete, or was made by another site. Use the link in the message itself: open it there, or copy all of "
    "it.": (
        "Er ist unvollständig oder stammt von einer anderen Website. Nehmen Sie den Link aus der E-Mail selbst: "
        "Öffnen Sie ihn dort, oder kopieren Sie ihn ganz."
    ),
    "All lists": "Alle Listen",
    "Save": "Speichern",
}
_TEXTS: Mapping[str, Mapping[str, str]] = {"de": GERMAN, "en": {}}

Say = Callable[..., Markup]
"""`say("{address} …", address=…)`: HTML, in which the values are escaped."""


def texts() -> tuple[str, Say]:
    """The language of this request's page, and what gives a text in it."""
    language, translate = of_request()
    language = language or request.accept_languages.best_match(list(_TEXTS)) or "en"
    ours = _TEXTS.get(language.partition("-")[0], {})
    if not ours and translate("Unsubscribe?") == "Unsubscribe?":
        language = "en"  # as what is shown

    def say(text: str, **values: object) -> Markup:
        found = translate(text)
        return Markup(found if found != text else ours.get(text, text)).format(**values)  # noqa: S704 - texts of ours

    return language, say
