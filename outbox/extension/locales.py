"""The language of one message: its templates, lazy texts, dates, and the header that says so.

With Flask-Babel all of it is rendered under that locale and never under the request's; without it, the templates of the
locale (`welcome.de.html`) and Content-Language remain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from flask import current_app, has_app_context

from outbox.core.errors import MessageError

_TAG = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")
_REMEDY = "Give one like de, pt-BR or zh_Hans."


def tag_of(locale: object) -> str | None:
    """`locale` as a language tag (RFC 5646), such as pt-BR: from a text or from Babel's `Locale`; None for none.

    Raises MessageError.
    """
    if locale is None or locale == "":
        return None
    words = str(locale)
    if _TAG.fullmatch(words) is None:
        raise MessageError("locale", f"{words[:80]!r} is not a language tag", _REMEDY)
    language, *others = re.split("[-_]", words)
    return "-".join([language.lower(), *(_cased(one) for one in others)])


def _cased(part: str) -> str:
    """Regions in capitals, scripts with one (RFC 5646 §2.1.1)."""
    return part.upper() if len(part) == 2 else part.title() if len(part) == 4 and part.isalpha() else part.lower()


def endings(tag: str | None) -> list[str]:
    """What stands between the name of a template and its ending, the best first: ".pt_BR", ".pt", ""."""
    if tag is None:
        return [""]
    parts = tag.split("-")
    exact = "." + "_".join(parts)
    return list(dict.fromkeys([exact, exact.replace("_", "-"), "." + parts[0], ""]))


def offered() -> list[str]:
    """The language tags of Flask-Babel's translations in the current application; none without it."""
    try:
        from flask_babel import get_babel

        found = get_babel().instance.list_translations()
    except (ImportError, KeyError, AttributeError, RuntimeError):
        return []
    return list(dict.fromkeys(tag for one in found if (tag := tag_of(one)) is not None))


def of_request() -> tuple[str | None, Callable[[str], str]]:
    """The language tag that Flask-Babel has chosen for this request, and its translations; (None, as it is) without."""
    if "babel" in current_app.extensions:
        try:
            from flask_babel import get_locale, gettext
        except ImportError:  # another extension calls itself so
            return None, str
        return tag_of(get_locale()), gettext
    return None, str


def under(tag: str | None) -> AbstractContextManager[None]:
    """Flask-Babel's `force_locale`, where the application has it. Raises MessageError for a locale unknown to it."""
    if tag is None or not has_app_context() or "babel" not in current_app.extensions:
        return nullcontext()
    return _forced(tag)


@contextmanager
def _forced(tag: str) -> Iterator[None]:
    try:
        from babel import Locale, UnknownLocaleError
        from flask_babel import force_locale
    except ImportError:  # another extension calls itself so
        yield
        return
    try:
        Locale.parse(tag, sep="-")
    except (UnknownLocaleError, ValueError):
        raise MessageError("locale", f"{tag!r} is unknown to Babel", _REMEDY) from None
    with force_locale(tag.replace("-", "_")):
        yield
