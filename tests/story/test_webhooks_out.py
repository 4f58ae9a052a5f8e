"""Webhooks that tell others what became of mail, against a receiver over real HTTPS."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.servers.databases import Database
from tests.servers.hook_server import HookServer
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, until
from tests.story.test_handlers import effects, prepared, start


@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.once("postgresql")
def test_delivered_at_least_once_signed_and_without_what_the_mail_says(
    database: Database, make_stage: MakeStage, relay: Relay
) -> None:
    """A receiver that fails first is called again with the same id; other types and kinds are not told."""
    with HookServer() as hooks:
        stage = prepared(make_stage(database, relay.port, OUTBOX_WEBHOOKS=hooks.setting("sent", kinds=["news"])))
        hooks.script = [500, 503]
        ids = stage.send(3, kind="news", metadata={"order": 7})
        stage.send(1, kind="reset")
        start(stage, STORY_HANDLERS="")
        stage.settle()
        until(lambda: len({one.id for one in hooks.calls if one.status == 204}) == 3 and not effects(stage), "all told")
    assert hooks.forged == 0
    taken = [one for one in hooks.calls if one.status == 204]
    assert Counter(one.data["message_id"] for one in taken) == Counter(ids)
    assert {one.status for one in hooks.calls} == {500, 503, 204}
    failed = {one.id for one in hooks.calls if one.status != 204}
    assert failed < {one.id for one in taken}  # the same when it is repeated
    first = taken[0]
    assert (first.type, first.data["kind"], first.data["metadata"]) == ("sent", "news", {"order": 7})
    assert first.headers["content-type"] == "application/json"
    assert b"Mail 0" not in first.body
    assert b"Text of" not in first.body


def test_one_that_is_gone_is_called_no_more_until_a_person_says_so(
    sqlite_database: Database, make_stage: MakeStage, relay: Relay
) -> None:
    """410; what it was to be told of stays, is shown, and is told when the command says so."""
    with HookServer() as hooks:
        stage = prepared(make_stage(sqlite_database, relay.port, OUTBOX_WEBHOOKS=hooks.setting("sent")))
        hooks.script = [410]
        stage.send(3)
        start(stage, STORY_HANDLERS="")
        until(lambda: any(one.type == "disabled" for one in effects(stage)), "it is disabled")
        stage.settle()
        assert len(effects(stage)) == 4
        seen = json.loads(stage.command("outbox-effects", "--json").stdout)
        assert [(one["name"], one["disabled"]) for one in seen["names"]] == [("webhook:crm", True)]
        assert any("webhook:crm is called no more" in one for one in stage.status()["problems"])
        done = stage.command("outbox-effects", "--name", "webhook:crm", "--run", "--yes")
        assert (done.returncode, done.stdout) == (0, "3 are due now: a worker calls them.\n")
        until(lambda: not effects(stage), "all are told")
        assert [one.status for one in hooks.calls] == [410, 204, 204, 204]


@pytest.mark.parametrize("status", [302, 308])
def test_redirects_are_not_followed(
    sqlite_database: Database, make_stage: MakeStage, relay: Relay, status: int
) -> None:
    """Wherever they lead."""
    with HookServer() as hooks, HookServer() as other:
        hooks.headers["Location"] = other.url
        hooks.script = [status] * 10
        stage = prepared(make_stage(sqlite_database, relay.port, OUTBOX_WEBHOOKS=hooks.setting("sent")))
        stage.send()
        start(stage, "--drain", STORY_HANDLERS="", OUTBOX_HANDLER_ATTEMPTS="1").wait(60)
        assert [one.error for one in effects(stage)] == [f"the receiver answered {status} (redirects are not followed)"]
        assert other.calls == []
