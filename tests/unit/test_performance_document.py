"""docs/performance.md is written by the benchmarks, never by hand."""

from __future__ import annotations

import json

from benchmarks import document, table


def test_the_document_is_made_from_the_results() -> None:
    """What stands in docs/performance.md is what was measured."""
    lines = [json.loads(text) for text in document.RESULTS.read_text().splitlines()]
    written = document.DOCUMENT.read_text()
    assert document.replaced(written, table.report(lines)) == written
