"""Amazon SES by its API (v2): the frozen bytes as `Content.Raw`, to the one recipient of the delivery.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html. As over SMTP, SES gives each message a
Message-ID and a Date of its own. FromEmailAddress is left out: it would replace the message's From.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from outbox.core import clock
from outbox.core.loggers import get_logger
from outbox.delivery.http_rules import SES
from outbox.delivery.reply import Phase, Reply, Result, Verdict
from outbox.message.values import Envelope
from outbox.settings.relay import Relay
from outbox.smtp.broken import Broken
from outbox.smtp.http.answers import json_of, judged, of_broken
from outbox.smtp.http.client import Answer, Client
from outbox.smtp.http.sigv4 import Credentials, signed

log = get_logger("outbox.transport")

_SEND = "/v2/email/outbound-emails"
_ACCOUNT = "/v2/email/account"
_DENIED = frozenset({"AccessDeniedException", "AccessDenied"})


class Ses:
    """A `Transport`."""

    def __init__(
        self,
        relay: Relay,
        *,
        monotonic: Callable[[], float] = clock.monotonic,
        now: Callable[[], datetime] = clock.utcnow,
    ) -> None:
        options = dict(relay.options)
        self._relay = relay
        self._region = options["region"]
        self._set = options.get("configuration_set")
        self._credentials = Credentials(relay.username or "", relay.password or "", options.get("session_token"))
        self._monotonic = monotonic
        self._now = now
        self._client = Client(relay, monotonic)

    def open(self, deadline: float) -> Result | None:
        """Connects where the kept connection is not beyond doubt. None: it is ready."""
        if self._client.is_usable():
            return None
        try:
            self._client.open(deadline)
        except Broken as broken:
            return self._broken(broken)
        return None

    def deliver(self, envelope: Envelope, content: bytes, deadline: float) -> Result:
        """Over a fresh connection, once, if the kept one turns out to be closed before the request was handed over."""
        body = self._body(envelope, content)
        stale = not self._client.is_fresh
        try:
            answer = self._request("POST", _SEND, body, deadline)
        except Broken as broken:
            if not stale or self._client.phase is not Phase.BODY:
                return self._broken(broken)
            log.debug("%s: the connection was closed: %s", self._relay.name, broken)
            try:
                self._client.open(deadline)
                answer = self._request("POST", _SEND, body, deadline)
            except Broken as again:
                return self._broken(again)
        if answer.status == 200:
            return Result.accepted(str(json_of(answer.body).get("MessageId") or "") or None, "OK", code=200)
        return self._judged(answer)

    def check(self, deadline: float) -> Result:
        """Whether the key is good, and the account may send."""
        try:
            answer = self._request("GET", _ACCOUNT, b"", deadline)
        except Broken as broken:
            return self._broken(broken, asked=True)
        found = json_of(answer.body)
        if answer.status == 200:
            return self._account(found)
        result = self._judged(answer)
        if _error(answer, found) in _DENIED:
            note = "the key is good, but may not read the account (ses:GetAccount), so that no more was checked"
            return replace(Result.accepted(), note=note)
        return self._asked(result)

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def abort(self) -> None:
        """Ends what is under way; from any thread."""
        self._client.abort()

    def _account(self, found: Any) -> Result:
        if found.get("SendingEnabled") is False:
            words = "sending is disabled for this account"
            return Result(Verdict.CONFIGURATION, Phase.AUTH, Reply(200, None, words), 0.0)
        quota = found.get("SendQuota") or {}
        said = [] if found.get("ProductionAccessEnabled", True) else ["in the sandbox"]
        if "Max24HourSend" in quota:
            said.append(f"{quota.get('SentLast24Hours', 0):,.0f} of {quota['Max24HourSend']:,.0f} messages in 24 hours")
        if "MaxSendRate" in quota:
            said.append(f"{quota['MaxSendRate']:g} a second")
        return replace(Result.accepted(), note=", ".join(said))

    def _body(self, envelope: Envelope, content: bytes) -> bytes:
        message: dict[str, Any] = {
            "Destination": {"ToAddresses": [envelope.recipient]},
            "Content": {"Raw": {"Data": base64.b64encode(content).decode("ascii")}},
        }
        if envelope.sender:  # to whom bounces go
            message["FeedbackForwardingEmailAddress"] = envelope.sender
        if self._set:
            message["ConfigurationSetName"] = self._set
        return json.dumps(message).encode()

    def _request(self, method: str, path: str, body: bytes, deadline: float) -> Answer:
        host = self._relay.host if self._relay.port == 443 else self._relay.address
        headers = {"Host": host, "Content-Type": "application/json"}
        headers = signed(
            method,
            path,
            headers,
            body,
            credentials=self._credentials,
            region=self._region,
            service="ses",
            now=self._now(),
        )
        headers["Content-Length"] = str(len(body))
        headers["User-Agent"] = "flask-outbox"
        return self._client.request(method, path, headers, body, deadline)

    def _judged(self, answer: Answer) -> Result:
        found = json_of(answer.body)
        text = str(found.get("message") or found.get("Message") or "")
        return judged(answer, _error(answer, found), text, SES, self._relay.rules, self._now())

    def _broken(self, broken: Broken, *, asked: bool = False) -> Result:
        phase = self._client.phase
        self._client.close()
        result = of_broken(broken, phase)
        return self._asked(result) if asked else result

    def _asked(self, result: Result) -> Result:
        """Of a question: nothing was handed over that could have been taken."""
        return replace(result, verdict=Verdict.TRANSPORT) if result.verdict is Verdict.UNKNOWN else result


def _error(answer: Answer, found: Any) -> str:
    """The name of the error: "MessageRejected"; in the header it may have a URL behind it, in JSON one before it."""
    name = answer.headers.get("x-amzn-errortype") or str(found.get("__type") or found.get("code") or "")
    return name.partition(":")[0].rpartition("#")[2].strip()[:80]
