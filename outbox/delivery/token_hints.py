"""Hints about access tokens: why there is none, or why the relay refuses one. Data, first match wins."""

from __future__ import annotations

from outbox.delivery.hint import AUTH, NO_REPLY, Hint, words

_NONE = r"no access token: .*"

TOKENS: tuple[Hint, ...] = (
    Hint(
        "The provider does not accept the client's secret: it may be mistyped, the secret's id instead of its value, "
        "or expired. Create a new one, and set OUTBOX_CLIENT_SECRET.",
        phases=AUTH,
        codes=NO_REPLY,
        text=words(_NONE + r"(?:invalid_client|AADSTS7000215|AADSTS7000222)"),
    ),
    Hint(
        "No such application or tenant: check OUTBOX_CLIENT_ID, and the tenant in OUTBOX_TOKEN_URL.",
        phases=AUTH,
        codes=NO_REPLY,
        text=words(_NONE + r"(?:AADSTS700016|AADSTS90002|AADSTS90013)"),
    ),
    Hint(
        "The refresh token has expired or was revoked, or MAIL_USERNAME is not a mailbox that the service account may "
        "act for. Have the owner consent again and set OUTBOX_REFRESH_TOKEN, or check the delegation (docs/oauth.md).",
        phases=AUTH,
        codes=NO_REPLY,
        text=words(_NONE + r"invalid_grant"),
    ),
    Hint(
        "The client may not have a token of this kind. Google: delegate the scope https://mail.google.com/ to the "
        "service account's client ID in the Admin console. Others: allow client credentials (docs/oauth.md).",
        phases=AUTH,
        codes=NO_REPLY,
        text=words(_NONE + r"(?:unauthorized_client|unsupported_grant_type|access_denied)"),
    ),
    Hint(
        "Check OUTBOX_TOKEN_SCOPE: at Microsoft https://outlook.office365.com/.default for client credentials.",
        phases=AUTH,
        codes=NO_REPLY,
        text=words(_NONE + r"(?:invalid_scope|AADSTS70011|AADSTS1002012)"),
    ),
    Hint(
        "Check that this machine can reach the token endpoint (OUTBOX_TOKEN_URL; a proxy goes in HTTPS_PROXY). Mail "
        "goes on as soon as there is a token.",
        phases=AUTH,
        codes=NO_REPLY,
        text=words(_NONE + r"(?:can't be reached|did not answer|answered (?:5\d\d|429))"),
    ),
    Hint(
        "Check OUTBOX_TOKEN_URL. For an authority of your own, add its certificate to OUTBOX_TLS_CA_FILE.",
        phases=AUTH,
        codes=NO_REPLY,
        text=words(_NONE + r"certificate that is not accepted"),
    ),
    Hint("See docs/oauth.md, and check the settings of the tokens.", AUTH, NO_REPLY, words(_NONE)),
    Hint(
        "The relay does not accept the access token. Exchange Online: SMTP AUTH must be on for the mailbox, and the "
        "application needs SMTP.SendAsApp with admin consent, a service principal in Exchange, and full access to the "
        "mailbox that MAIL_USERNAME names. Gmail: the scope must be https://mail.google.com/. See docs/oauth.md. If "
        "MAIL_PASSWORD holds the token, it has probably expired.",
        phases=AUTH,
        text=words(r"\btoken\b", r"\bbearer\b", r"\"(?:schemes|status)\""),
    ),
)
