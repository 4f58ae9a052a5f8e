"""The dashboard, the alert rules and their page speak of metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from outbox.monitoring.prometheus import HELP, HISTOGRAMS
from tests.servers.promtool import promtool

DOCS = Path(__file__).resolve().parents[3] / "docs"
FILES = ("monitoring.md", "monitoring/alerts.yml", "monitoring/dashboard.json")
PARTS = {f"outbox_{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "sum", "count")}


def named(file: str) -> set[str]:
    return set(re.findall(r"\boutbox_[a-z_]+\b", (DOCS / file).read_text()))


@pytest.mark.parametrize("file", FILES)
def test_each_metric_that_is_named_exists(file: str) -> None:
    """A rule on a metric that does not exist never fires."""
    assert named(file) - HELP.keys() - PARTS == set()


def test_each_metric_is_explained() -> None:
    """On the page."""
    assert HELP.keys() - named("monitoring.md") == set()


def test_the_dashboard_is_one() -> None:
    """JSON with panels side by side, none on top of another, each asking the data source that was chosen."""
    dashboard = json.loads((DOCS / "monitoring/dashboard.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_alert_rules_are_valid_and_fire() -> None:
    """Each fires on what it is for, and none on an outbox in good health: alerts_test.yml."""
    promtool("check", "rules", str(DOCS / "monitoring/alerts.yml"))
    promtool("test", "rules", str(Path(__file__).parent / "alerts_test.yml"))


def test_each_alert_is_tested() -> None:
    """One that is added has a case."""
    alerts = set(re.findall(r"- alert: (\w+)", (DOCS / "monitoring/alerts.yml").read_text()))
    assert alerts == set(re.findall(r"\bOutbox\w+", (Path(__file__).parent / "alerts_test.yml").read_text()))
