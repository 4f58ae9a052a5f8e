"""The replies of `tests/unit/delivery/replies.csv`, said by a real server at the step at which they were seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from outbox.delivery.reply import About, Phase, Verdict
from outbox.settings.relay import Relay
from outbox.smtp.connection import Connection
from tests.unit.delivery.replies import SAID, Said
from tests.unit.worker.waits import WAITS
from tests.wire.actions import turns
from tests.wire.conftest import CONTENT, envelope
from tests.wire.server import SmtpServer

Connect = Callable[[Relay], Connection]


def named(said: Said) -> str:
    """A short name for the test of this reply."""
    return f"{said.relay} {said.line[:60]}"


ABOUT_SESSION = tuple(said for said in SAID if said.about is About.SESSION)
OTHERS = tuple(said for said in SAID if said.about is not About.SESSION)


@pytest.mark.parametrize("said", OTHERS, ids=named)
def test_a_reply_is_taken_for_what_it_is(said: Said, connect: Connect) -> None:
    """On a fresh connection: the step, the verdict, what it is about; and the server has no message."""
    login = said.phase is Phase.AUTH
    server = SmtpServer(
        {said.phase.value: said.line}, tls="starttls" if login else None, auth={"u": "p"} if login else None
    )
    with server:
        user = {"username": "u", "password": "p"} if login else {}
        result = connect(server.relay(preset=said.preset, **user)).deliver(envelope(), CONTENT)
        assert (result.verdict, result.phase, result.about) == (said.verdict, said.phase, said.about), result
        assert server.messages == []


@pytest.mark.parametrize("said", ABOUT_SESSION, ids=named)
def test_a_limit_of_a_session_is_none_of_the_message(said: Said, connect: Connect) -> None:
    """The second message on a connection meets it: it goes out by a fresh one, or, its content sent, costs nothing."""
    with SmtpServer({said.phase.value: turns(None, said.line)}) as server:
        connection = connect(server.relay())
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        result = connection.deliver(envelope("c@example.net"), CONTENT)
        if said.phase is Phase.DOT:
            assert (result.verdict, result.about) == (said.verdict, said.about)
            assert not connection.is_open
        else:
            assert result.verdict is Verdict.ACCEPTED
            assert server.connections == 2


@pytest.mark.parametrize(("text", "seconds", "_source"), WAITS[:10])
def test_a_wait_reaches_the_result(text: str, seconds: float, _source: str, connect: Connect) -> None:
    """What the server asks for is part of the outcome."""
    with SmtpServer({"rcpt": f"451 4.7.1 {text}"}) as server:
        assert connect(server.relay()).deliver(envelope(), CONTENT).retry_after == seconds
