"""What mail of the category `subscription` carries besides: how to unsubscribe (RFC 8058), and which list it is of."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

import flask_mail

from outbox.core.errors import MessageError
from outbox.message.addresses import mailbox_of
from outbox.message.unsubscribe_link import PURPOSE, Unsubscribing, token
from outbox.settings import Settings
from outbox.settings.kinds import Category, Policy
from outbox.settings.secret_keys import derived

_HEADER = "list-unsubscribe"
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_NOT_IN_A_LABEL = re.compile(r"[^a-z0-9_-]+")


def is_subscription(policy: Policy | None) -> bool:
    """Whether people can unsubscribe from what this policy is for."""
    return policy is not None and policy.category is Category.SUBSCRIPTION


def can_be_left(policy: Policy | None, settings: Settings) -> bool:
    """Whether mail of this policy says how to unsubscribe."""
    return is_subscription(policy) and settings.unsubscribe_url is not None


def unsubscribe_url(settings: Settings, policy: Policy, address: str) -> str | None:
    """The link by which `address` unsubscribes from this kind; None without OUTBOX_UNSUBSCRIBE_URL."""
    base = settings.unsubscribe_url
    return None if base is None else f"{base.rstrip('/')}/{_token(settings, policy, address)}"


def only_address(recipients: Iterable[object], problem: str, remedy: str) -> str:
    """That of the one recipient, each as Flask-Mail takes it. Raises MessageError for several: a link is for one."""
    found = list(recipients)
    if len(found) != 1:
        raise MessageError("recipients", f"are {len(found)}, and {problem}", remedy)
    return mailbox_of(found[0], "recipients").envelope


def headers(message: flask_mail.Message, settings: Settings, policy: Policy | None, own: set[str]) -> dict[str, str]:
    """The headers of a message of this kind; none where people can't unsubscribe from it, or by nothing.

    `own`: the names of those that it has, in lower case. Raises MessageError for several recipients, unless the message
    says itself how to unsubscribe.
    """
    base = settings.unsubscribe_url
    if policy is None or not is_subscription(policy) or base is None or _HEADER in own:
        return {}
    address = only_address(
        message.send_to,
        f"each needs a link of its own to unsubscribe from the kind {policy.name!r}",
        "Enqueue a message for each of them (enqueue_many), or give a List-Unsubscribe header of your own.",
    )
    ways = [f"<{unsubscribe_url(settings, policy, address)}>"]
    if settings.unsubscribe_mailto is not None:
        subject = quote(f"unsubscribe {_token(settings, policy, address)}")
        ways.append(f"<mailto:{settings.unsubscribe_mailto}?subject={subject}>")
    found = {
        "List-Unsubscribe": ", ".join(ways),
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "List-Id": f"<{_label(policy.name)}.{urlsplit(base).hostname}>",
    }
    if settings.feedback_id is not None:
        found["Feedback-ID"] = f"{_label(policy.name)}:{policy.category}:{settings.feedback_id}"
    return found


def _token(settings: Settings, policy: Policy, address: str) -> str:
    return token(Unsubscribing(address, f"kind:{policy.name}"), derived(settings, PURPOSE)[0])


def _label(kind: str) -> str:
    """The kind as a label of List-Id (RFC 2919): itself, or what is left of it and a hash, so that no two have one."""
    if _LABEL.fullmatch(kind):
        return kind
    left = _NOT_IN_A_LABEL.sub("-", kind.lower()).strip("-")[:54]
    return f"{left or 'list'}-{hashlib.blake2b(kind.encode(), digest_size=4).hexdigest()}"
