"""The presets are data that someone can check, and the documentation shows all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from outbox.delivery.presets import GENERIC, PROVIDERS, Preset, preset_of
from outbox.delivery.reply_presets import PRESETS

PAGE = (Path(__file__).parents[3] / "docs" / "presets.md").read_text()


@pytest.mark.parametrize("preset", PROVIDERS, ids=lambda preset: preset.name)
def test_each_is_documented_with_its_sources(preset: Preset) -> None:
    """Host, ports, limits: the page has them, and where they are from."""
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{preset.name}` |")]
    figures = [preset.host, preset.starttls_port, preset.tls_port, preset.connections, preset.rate]
    assert preset.sources
    assert all(source in row for source in preset.sources)
    assert all(str(figure) in row for figure in figures if figure is not None)
    assert preset.per_day is None or f"{preset.per_day:,} {preset.unit}" in row


def test_a_relay_is_known_by_its_name() -> None:
    """The default: the provider of the host, `generic` for all others; a name goes before it."""
    for preset in PROVIDERS:
        assert preset.host is None or preset_of("auto", preset.host) is preset
    assert preset_of("auto", "email-smtp.eu-west-1.amazonaws.com.").name == "ses"
    assert preset_of("auto", "smtp.zoho.eu").name == "zoho"
    assert preset_of("auto", "mail.example.org") is preset_of("generic", "smtp.gmail.com") is GENERIC
    assert preset_of("auto", "notresend.com") is GENERIC
    assert preset_of("ses", "localhost").name == "ses"


def test_rules_belong_to_a_preset() -> None:
    """None is left that no preset uses."""
    assert PRESETS.keys() <= {preset.name for preset in PROVIDERS}
