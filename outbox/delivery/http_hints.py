"""Hints about services over HTTP: what they say, by the names of their errors. Data, first match wins."""

from __future__ import annotations

from outbox.delivery.hint import Hint, words

HTTP: tuple[Hint, ...] = (
    Hint(
        "AWS does not know this access key. Check user name and password in the transport's URL: an access key's ID "
        "and its secret, percent-encoded, and not the user name and password for SMTP, which differ.",
        text=words(r"^(?:UnrecognizedClientException|InvalidClientTokenId)\b"),
    ),
    Hint(
        "The signature is not accepted: check the secret of the access key (percent-encoded in the URL: / is %2F, + is "
        "%2B), and this machine's clock.",
        text=words(r"^(?:InvalidSignatureException|SignatureDoesNotMatch|IncompleteSignature\w*|RequestExpired)\b"),
    ),
    Hint(
        "The temporary key has expired: give a new one, or the access key of a user, which does not expire.",
        text=words(r"^ExpiredToken(?:Exception)?\b"),
    ),
    Hint(
        "The access key may not send. Allow its user ses:SendEmail and ses:SendRawEmail for the identities that it is "
        "to send as.",
        text=words(r"^AccessDenied(?:Exception)?\b"),
    ),
    Hint(
        "SES does not let this account send now: see the SES console, Account dashboard, in the transport's region.",
        text=words(r"^(?:AccountSuspended|SendingPaused)Exception\b", r"^sending is disabled for this account"),
    ),
    Hint(
        "Verify the sender's domain in the SES console, in the transport's region, or set MAIL_DEFAULT_SENDER to one "
        "that is verified.",
        text=words(r"^MailFromDomainNotVerifiedException\b"),
    ),
    Hint(
        "Check the option configuration_set: there is none of this name in the transport's region.",
        text=words(r"^NotFoundException\b.*configuration set"),
    ),
    Hint(
        "The account sends too fast, or has used up its quota: wait, lower the transport's connections, or ask for a "
        "higher limit.",
        text=words(r"^(?:TooManyRequests|Throttling|LimitExceeded)\w*\b"),
    ),
    Hint(
        "Check the host in the transport's URL: what answers there is not the service.",
        text=words(r"^HTTP status (?:3\d\d|404|405|410)\b", r"the answer is not HTTP"),
    ),
    Hint(
        "The service asks for a log-in: check user name and password in the transport's URL.",
        text=words(r"^HTTP status (?:401|403|407)\b"),
    ),
)
