"""What the answers of services over HTTP mean: by the error that they name, else by the status. Data, first match wins.

After a 500, 502 or 504 nobody can know whether the message was taken (RFC 9110 §15.6); 503 says that it was not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from outbox.delivery.reply import About, Phase, Verdict
from outbox.delivery.reply_rule import LOG_IN, NOT_ALLOWED, NOT_USABLE, NOT_VERIFIED, QUOTA, THROTTLE, words


@dataclass(frozen=True, slots=True)
class HttpRule:
    """A pattern on an answer, and its verdict. What is left empty fits everything."""

    verdict: Verdict
    note: str = ""
    statuses: frozenset[int] = frozenset()
    errors: frozenset[str] = frozenset()  # the name of the error
    text: re.Pattern[str] | None = None
    about: About | None = None
    phase: Phase = Phase.DOT  # AUTH: it lets nobody in

    def fits(self, status: int, error: str, text: str) -> bool:
        """Whether the rule speaks about this answer."""
        return (
            (not self.statuses or status in self.statuses)
            and (not self.errors or error in self.errors)
            and (self.text is None or self.text.search(text) is not None)
        )


def _statuses(*statuses: int) -> frozenset[int]:
    return frozenset(statuses)


_OTHER_PLACE = "this is not the address of the service"

_BY_STATUS: tuple[HttpRule, ...] = (  # RFC 9110 §15, RFC 6585
    HttpRule(Verdict.UNKNOWN, statuses=_statuses(500, 502, 504)),
    HttpRule(Verdict.TRANSPORT, THROTTLE, _statuses(429), about=About.ACCOUNT),
    HttpRule(Verdict.TRANSPORT, statuses=_statuses(503, 509, 529), about=About.RELAY),
    HttpRule(Verdict.TRANSPORT, "the service did not get the whole request", _statuses(408, 425)),
    HttpRule(Verdict.CONFIGURATION, LOG_IN, _statuses(401, 403, 407), about=About.RELAY, phase=Phase.AUTH),
    HttpRule(Verdict.PERMANENT, "the service finds the message too large", _statuses(413), about=About.MESSAGE),
    HttpRule(
        Verdict.CONFIGURATION,
        _OTHER_PLACE,
        frozenset(range(300, 400)) | {404, 405, 410, 421, 501, 505},
        about=About.RELAY,
        phase=Phase.AUTH,
    ),
    HttpRule(Verdict.PERMANENT, statuses=frozenset(range(400, 500))),
)
_OTHERWISE = HttpRule(Verdict.UNKNOWN)

SES: tuple[HttpRule, ...] = (
    # https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html#API_SendEmail_Errors
    # https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html
    HttpRule(
        Verdict.TRANSPORT,
        QUOTA,
        text=words(r"\bdaily message quota exceeded", r"\bsending quota\b"),
        about=About.ACCOUNT,
    ),
    HttpRule(
        Verdict.TRANSPORT,
        THROTTLE,
        errors=frozenset({"TooManyRequestsException", "ThrottlingException", "Throttling", "LimitExceededException"}),
        about=About.ACCOUNT,
    ),
    HttpRule(
        Verdict.CONFIGURATION,
        NOT_USABLE,
        errors=frozenset({"AccountSuspendedException", "SendingPausedException"}),
        about=About.RELAY,
    ),
    HttpRule(
        Verdict.CONFIGURATION,
        NOT_VERIFIED,
        errors=frozenset({"MailFromDomainNotVerifiedException"}),
        about=About.SENDER,
    ),
    HttpRule(
        Verdict.CONFIGURATION, NOT_VERIFIED, text=words(r"\bnot verified\b")
    ),  # of a sandbox, the recipient's, too
    HttpRule(Verdict.PERMANENT, errors=frozenset({"MessageRejected"}), about=About.MESSAGE),
    HttpRule(
        Verdict.PERMANENT,
        errors=frozenset({"BadRequestException"}),
        text=words(
            r"\b(?:local|domain) (?:address|name)? ?contains\b",
            r"\bmissing final '@domain'",
            r"\binvalid .{0,20}address",
        ),
        about=About.RECIPIENT,
    ),
    HttpRule(
        Verdict.PERMANENT,
        "the service finds the message too large",
        errors=frozenset({"BadRequestException", "ValidationException"}),
        text=words(r"\b(?:message|size|length) .{0,40}\b(?:exceed|too (?:long|large)|maximum)"),
        about=About.MESSAGE,
    ),
    HttpRule(
        Verdict.CONFIGURATION,
        "the configuration set does not exist",
        errors=frozenset({"NotFoundException"}),
        about=About.RELAY,
        phase=Phase.AUTH,
    ),
    HttpRule(
        Verdict.CONFIGURATION,
        NOT_ALLOWED,
        errors=frozenset({"AccessDeniedException", "AccessDenied"}),
        text=words(r":identity/"),
        about=About.SENDER,
    ),
    # https://docs.aws.amazon.com/ses/latest/APIReference-V2/CommonErrors.html
    HttpRule(
        Verdict.CONFIGURATION,
        LOG_IN,
        errors=frozenset(
            {
                "AccessDenied",
                "AccessDeniedException",
                "ExpiredToken",
                "ExpiredTokenException",
                "IncompleteSignature",
                "IncompleteSignatureException",
                "InvalidClientTokenId",
                "InvalidSignatureException",
                "MissingAuthenticationToken",
                "MissingAuthenticationTokenException",
                "NotAuthorized",
                "OptInRequired",
                "RequestExpired",
                "SignatureDoesNotMatch",
                "UnrecognizedClientException",
            }
        ),
        about=About.RELAY,
        phase=Phase.AUTH,
    ),
    HttpRule(
        Verdict.TRANSPORT, errors=frozenset({"ServiceUnavailable", "ServiceUnavailableException"}), about=About.RELAY
    ),
)


def http_rule(status: int, error: str, text: str, rules: Sequence[HttpRule]) -> HttpRule:
    """The first that fits an answer which is no success: one of the service's own `rules`, else by the status."""
    return next((rule for rule in (*rules, *_BY_STATUS) if rule.fits(status, error, text)), _OTHERWISE)
