"""What is said about one setting, at the field that holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from outbox.settings.values import Form


@dataclass(frozen=True, slots=True)
class Spec:
    """One setting: its names in the configuration, its form, what it means."""

    names: tuple[str, ...]  # the first is its own, the others are aliases
    form: Form
    doc: str
    default: str | None = None  # in words, where the default depends on something

    @property
    def name(self) -> str:
        """The setting's own name."""
        return self.names[0]


def setting(name: str, form: Form, default: Any, doc: str, *, alias: str | None = None, says: str | None = None) -> Any:
    """A field with its Spec. `says`: the default in words."""
    names = (name,) if alias is None else (name, alias)
    return field(default=default, repr=not form.secret, metadata={"spec": Spec(names, form, doc, says)})
