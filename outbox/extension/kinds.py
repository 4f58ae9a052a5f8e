"""The kinds that an application has defined, and what one of them sends with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, Unpack

import flask_mail

from outbox.core.errors import ConfigurationError
from outbox.extension.flask_mail import Address, recipients_of
from outbox.extension.options import EnqueueOptions, SharedOptions, takes
from outbox.extension.samples import S, Samples
from outbox.extension.subscription import is_subscription, only_address
from outbox.extension.subscription import unsubscribe_url as link_of
from outbox.message.addresses import mailbox_of
from outbox.settings import Settings
from outbox.settings.endpoint import Transports
from outbox.settings.kinds import TEST_MAIL, Policy, nowhere, policy, unknown_kind
from outbox.settings.route_rules import DEFAULT, named_transports
from outbox.store.enqueue_many import Queued
from outbox.store.models import OutboxMessage


class Sends(Protocol):
    """What a kind needs to know of the outbox."""

    @property
    def compose_email(self) -> Callable[..., flask_mail.Message]: ...

    @property
    def settings(self) -> Callable[[], Settings]: ...

    @property
    def enqueue(self) -> Callable[..., OutboxMessage]: ...

    @property
    def enqueue_many(self) -> Callable[..., list[Queued]]: ...

    @property
    def batch(self) -> Callable[..., Any]: ...


class Kind:
    """One kind of message: what `mail.kind` returns."""

    def __init__(self, mail: Sends, policy: Policy, samples: Samples) -> None:
        self._mail, self._samples = mail, samples
        self.policy = policy

    @property
    def name(self) -> str:
        """The label in the database, in lists and pauses."""
        return self.policy.name

    def __repr__(self) -> str:
        return f"<Kind {self.name!r}>"

    def send_email(self, to: Address | Iterable[Address], subject: str, template: str, **context: Any) -> OutboxMessage:
        """As `Outbox.send_email`, of this kind. All of `context` goes to the templates.

        Those of the category `subscription` also have `unsubscribe_url()`, the recipient's own link.
        """
        return self.enqueue(self.compose_email(to, subject, template, **context))

    def compose_email(
        self, to: Address | Iterable[Address], subject: str, template: str, **context: Any
    ) -> flask_mail.Message:
        """The message that `send_email` enqueues, to add to, to enqueue with options, or to return from a sample."""
        if is_subscription(self.policy):
            context = {"unsubscribe_url": self._link(to)} | context
        return self._mail.compose_email(to, subject, template, **context)

    def preview(self, name: str | None = None, *, locales: Iterable[str] = ()) -> Callable[[S], S]:
        """Register a sample of this kind for the gallery, `outbox-preview` and `outbox-lint`. A decorator.

        The function takes nothing, or `locale`. It returns a message, a pair of a message and options of `enqueue`, or
        calls what enqueues one: while a sample is made nothing is enqueued, and the session is rolled back. `name`: by
        default the function's. `locales`: language tags, by default those of the application's translations.
        Raises ConfigurationError, also for a name that is taken.
        """

        def registered(function: S) -> S:
            return self._samples.register(self.name, function, name, locales)

        return registered

    @takes(EnqueueOptions)
    def enqueue(
        self, message: flask_mail.Message, session: Any = None, **options: Unpack[EnqueueOptions]
    ) -> OutboxMessage:
        """As `Outbox.enqueue`, of this kind. What `options` say goes before its policy."""
        return self._mail.enqueue(message, session, **self._own(options))

    @takes(SharedOptions)
    def enqueue_many(
        self,
        messages: Iterable[flask_mail.Message | tuple[flask_mail.Message, Mapping[str, Any]]],
        session: Any = None,
        **options: Unpack[SharedOptions],
    ) -> list[Queued]:
        """As `Outbox.enqueue_many`, of this kind."""
        return self._mail.enqueue_many(messages, session, **self._own(options))

    @takes(SharedOptions)
    def batch(self, name: str, *, expected: int | None = None, **options: Unpack[SharedOptions]) -> Any:
        """As `Outbox.batch`, of this kind."""
        return self._mail.batch(name, expected=expected, **self._own(options))

    def unsubscribe_url(self, address: str) -> str:
        """The link by which `address` leaves this list, and sees all others: for messages that are given as bytes.

        Raises ConfigurationError without OUTBOX_UNSUBSCRIBE_URL, MessageError for an invalid address.
        """
        url = link_of(self._mail.settings(), self.policy, mailbox_of(address, "address").envelope)
        if url is None:
            raise ConfigurationError(["OUTBOX_UNSUBSCRIBE_URL is not set: there is no link. See docs/unsubscribe.md."])
        return url

    def _link(self, to: Address | Iterable[Address]) -> Callable[[], str]:
        """What templates call. It raises MessageError unless there is one recipient, and OUTBOX_UNSUBSCRIBE_URL."""

        def unsubscribe_url() -> str:
            address = only_address(
                recipients_of(to),
                "the template calls unsubscribe_url(), a link for one",
                "Send each of them a message of their own.",
            )
            url = link_of(self._mail.settings(), self.policy, address)
            if url is None:
                problem = "OUTBOX_UNSUBSCRIBE_URL is not set, and a template calls unsubscribe_url()."
                raise ConfigurationError([f"{problem} See docs/unsubscribe.md."])
            return url

        return unsubscribe_url

    def _own(self, options: Mapping[str, Any]) -> dict[str, Any]:
        if options.get("kind", self.name) != self.name:
            raise TypeError(
                f"kind={options['kind']!r} was given to the kind {self.name!r}. Leave it out, or call mail.enqueue."
            )
        return {**options, "kind": self.name}


class Kinds:
    """Those of one `Outbox`, by name."""

    def __init__(self) -> None:
        self._policies: dict[str, Policy] = {}
        self._transports: set[str] = set()  # of all applications that it was bound to; empty: none
        self.samples = Samples()

    def __iter__(self) -> Iterator[Policy]:
        return iter(sorted(self._policies.values(), key=lambda one: one.name))

    def define(self, mail: Sends, name: str, options: Mapping[str, Any]) -> Kind:
        """Raises ConfigurationError, TypeError."""
        made = policy(name, options)
        if self._transports and (fault := nowhere(made, sorted(self._transports))) is not None:
            raise ConfigurationError([fault])
        if made.name in self._policies:
            problem = (
                f"the kind {name!r} is defined twice. Define each kind once, at the top of the module that sends it "
                "and not in a function that is called again, and import what `mail.kind` returned from there."
            )
            raise ConfigurationError([problem])
        self._policies[made.name] = made
        return Kind(mail, made, self.samples)

    def settings(self, config: Mapping[str, Any], transports: Transports) -> Settings:
        """Those of an application in which these kinds hold. Raises ConfigurationError, also for what kinds want."""
        names = named_transports(config) or (DEFAULT,)
        wrong = [fault for one in self if (fault := nowhere(one, names)) is not None]
        try:
            made = Settings.from_config(config, transports)
        except ConfigurationError as error:
            raise ConfigurationError([*error.faults, *wrong]) from None
        if wrong:
            raise ConfigurationError(wrong)
        self._transports.update(names)
        return made

    def policy(self, name: str | None, *, strict: bool = False) -> Policy | None:
        """That of the kind `name`; None where there is none. Raises MessageError for one unknown, if `strict`."""
        if not name or not isinstance(name, str):
            return None  # what is no text is reported as that
        found = self._policies.get(name)
        if found is None and strict and name != TEST_MAIL:
            raise unknown_kind(name, self._policies)
        return found

    def redacted(self, named: Iterable[str], failed: float) -> dict[str, float]:
        """By kind, of those whose mail does not keep its text: when that of failed mail goes, in seconds."""
        found = dict.fromkeys(named, failed)
        own = {one.name: one for one in self if one.is_redacted or one.name in found}
        return found | {name: failed if one.failed_text is None else one.failed_text for name, one in own.items()}

    def sensitive(self, named: Iterable[str]) -> tuple[str, ...]:
        """Those whose mail holds secrets, and those that are `named` so."""
        return tuple(dict.fromkeys([*named, *(one.name for one in self if one.sensitive)]))
