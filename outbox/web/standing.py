"""The pages' surroundings: the site they belong to, and the user who sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import url_for

from outbox.web import rights

Place = str | Callable[[], str | None] | None
"""An address, the name of an endpoint, or a function that gives an address or None."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the application says of itself; looked up when a page is made."""

    site_name: str | Callable[[], str | None] | None = None
    home_url: Place = None
    logout_url: Place = None

    @property
    def name(self) -> str:
        """The site's; "" where the application gives none."""
        return (self.site_name() if callable(self.site_name) else self.site_name) or ""

    @property
    def home(self) -> str | None:
        """The way back to the application."""
        return _address(self.home_url)

    @property
    def logout(self) -> str | None:
        """Where a POST logs out."""
        return _address(self.logout_url)

    @property
    def actor(self) -> str | None:
        """The user's name; None if the application gives none."""
        try:
            name = rights.actor()
        except AttributeError:  # an anonymous user has no `email`
            return None
        return None if name == rights.UNKNOWN else name


def _address(place: Place) -> str | None:
    found = place() if callable(place) else place
    if found is None or "/" in found:
        return found
    return url_for(found)
