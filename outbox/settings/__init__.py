"""The configuration: read once into a frozen value, with all its faults reported at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from outbox.core.errors import ConfigurationError
from outbox.delivery.routes import Routes
from outbox.delivery.states import OnUncertain
from outbox.message.keyring import Keyring, keyring_of
from outbox.settings.checks import (
    PREFIX,
    derived,
    in_development,
    misspelt,
    read,
    remarks,
    uncommitted,
    unknown,
    unread_words,
)
from outbox.settings.contradictions import contradictions
from outbox.settings.encryption_table import ALL
from outbox.settings.endpoint import TransportFactory
from outbox.settings.kinds import Category, Policy
from outbox.settings.relay import Relay
from outbox.settings.route_rules import routes
from outbox.settings.secret_keys import address_key, secrets_of, unsigned
from outbox.settings.table import Table, specs
from outbox.settings.transports import transports
from outbox.settings.values import is_unset

__all__ = ["Settings", "in_development", "remarks", "uncommitted", "unread_words"]

_RESERVED = re.compile(r"OUTBOX_(TEST_|(\w+_)?SERVICE_(HOST|PORT)|(\w+_)?PORT(_|$))")
"""Environment variables that are no settings: the project's own tests', and those that Kubernetes makes for services
named "outbox", "outbox-metrics" and so on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Table):
    """The settings of one application. Times in seconds, sizes in bytes; no secret in the `repr`.

    `OUTBOX_LEASE_SECONDS` is `lease_seconds`, and so on; Flask-Mail's have the names that they have in Flask-Mail.
    """

    transports: tuple[Relay, ...] = field(default=(Relay(),), repr=False, compare=False)
    """In the order of preference; at least one."""
    routes: Routes = field(default=Routes(("default",)), repr=False, compare=False)
    secrets: tuple[bytes, ...] = field(default=(), repr=False, compare=False)
    """What `secret_keys.derived` makes keys of."""
    address_digest_key: bytes = field(default=address_key(None), repr=False, compare=False)
    """The key of `message.digest`."""
    keyring: Keyring | None = field(default=None, repr=False, compare=False)
    """What is sealed is sealed with; None: nothing is."""

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], transport_factories: Mapping[str, TransportFactory] | None = None
    ) -> Settings:
        """The settings in a Flask configuration, or any mapping with the same keys.

        `transport_factories`: the application's own transports, by the scheme of their URLs.

        Raises ConfigurationError with every fault: values out of their range, settings that contradict each other,
        OUTBOX_* keys that do not exist, MAIL_* keys that are known ones misspelt.
        """
        given, broken, faults = read(config)
        settings = cls(**(derived(config, given) | given))
        faults += [*unknown(config), *contradictions(settings, given.keys(), broken)]
        relays, wrong = transports(config, settings, transport_factories or {})
        by, wrong_rules = routes(settings.transport_names, settings.route_rules)
        secrets = secrets_of(config, settings.secret_key)
        if faults := [*faults, *wrong, *wrong_rules, *unsigned(settings, secrets)]:
            raise ConfigurationError(faults)
        return replace(
            settings,
            transports=relays,
            routes=by,
            secrets=secrets,
            address_digest_key=address_key(settings.address_key),
            keyring=keyring_of(settings.encryption_keys or settings.encryption_keys_file),
        )

    @staticmethod
    def from_env(environ: Mapping[str, str]) -> dict[str, str]:
        """What an environment says about mail, to be put into an application's configuration.

        The package itself reads no environment: `app.config.update(Settings.from_env(os.environ))`.
        """
        known = {name for spec in specs() for name in spec.names}
        refuse_blanks = {name for spec in specs() for name in spec.names if spec.form.blank}
        return {
            name: value
            for name, value in environ.items()
            if (not is_unset(value) or name in refuse_blanks)
            and not value.startswith("tcp://")  # OUTBOX_METRICS_PORT, made for a service "outbox-metrics"
            and (name in known or (name.startswith(PREFIX) and not _RESERVED.match(name)) or misspelt(name) is not None)
        }

    @property
    def relay_names(self) -> str:
        """Of all transports, for the log."""
        return " ".join(relay.name for relay in self.transports)

    def seals(self, kind: str | None, policy: Policy | None) -> bool:
        """Whether what is stored of mail of this kind is sealed."""
        if self.keyring is None:
            return False
        if self.encryption == ALL or kind in self.sensitive_kinds:
            return True
        return policy is not None and (policy.sensitive or policy.category is Category.SECURITY)

    def on_uncertain_for(self, kind: str | None, defined: OnUncertain | None = None) -> OnUncertain:
        """The policy for messages of this kind that name none themselves. `defined`: the code's, for this kind."""
        return dict(self.on_uncertain_kinds).get(kind or "", defined or self.on_uncertain)
