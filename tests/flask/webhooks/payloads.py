"""What providers send, as their documentation shows it; shortened where nothing is read.

Their own examples, of:
https://docs.aws.amazon.com/ses/latest/dg/notification-examples.html
https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-examples.html
https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhook-payloads
https://postmarkapp.com/developer/webhooks/webhooks-overview
https://dev.mailjet.com/email/guides/webhooks/
https://developers.brevo.com/docs/transactional-webhooks
https://resend.com/docs/webhooks/event-types
"""

from __future__ import annotations

from typing import Any

SES_MAIL = {
    "timestamp": "2016-01-27T14:59:38.237Z",
    "source": "john@example.com",
    "sourceArn": "arn:aws:ses:us-east-1:888888888888:identity/example.com",
    "sourceIp": "127.0.3.0",
    "sendingAccountId": "123456789012",
    "messageId": "00000138111222aa-33322211-cccc-cccc-cccc-ddddaaaa0680-000000",
    "destination": ["jane@example.com", "mary@example.com", "richard@example.com"],
    "headersTruncated": False,
    "commonHeaders": {
        "from": ["John Doe <john@example.com>"],
        "date": "Wed, 27 Jan 2016 14:05:45 +0000",
        "to": ["Jane Doe <jane@example.com>, Mary Doe <mary@example.com>, Richard Doe <richard@example.com>"],
        "messageId": "custom-message-ID",
        "subject": "Hello",
    },
}

SES_BOUNCE = {
    "notificationType": "Bounce",
    "bounce": {
        "bounceType": "Permanent",
        "reportingMTA": "dns; email.example.com",
        "bouncedRecipients": [
            {
                "emailAddress": "jane@example.com",
                "status": "5.1.1",
                "action": "failed",
                "diagnosticCode": "smtp; 550 5.1.1 <jane@example.com>... User",
            }
        ],
        "bounceSubType": "General",
        "timestamp": "2016-01-27T14:59:38.237Z",
        "feedbackId": "00000138111222aa-33322211-cccc-cccc-cccc-ddddaaaa068a-000000",
        "remoteMtaIp": "127.0.2.0",
    },
    "mail": SES_MAIL,
}

SES_BOUNCE_WITHOUT_DSN = {
    "notificationType": "Bounce",
    "bounce": {
        "bounceType": "Permanent",
        "bounceSubType": "General",
        "bouncedRecipients": [{"emailAddress": "jane@example.com"}, {"emailAddress": "richard@example.com"}],
        "timestamp": "2016-01-27T14:59:38.237Z",
        "feedbackId": "00000137860315fd-869464a4-8680-4114-98d3-716fe35851f9-000000",
        "remoteMtaIp": "127.0.2.0",
    },
    "mail": {"messageId": "00000137860315fd-34208509-5b74-41f3-95c5-22c1edc3c924-000000", "destination": []},
}

SES_COMPLAINT = {
    "notificationType": "Complaint",
    "complaint": {
        "userAgent": "AnyCompany Feedback Loop (V0.01)",
        "complainedRecipients": [{"emailAddress": "richard@example.com"}],
        "complaintFeedbackType": "abuse",
        "arrivalDate": "2016-01-27T14:59:38.237Z",
        "timestamp": "2016-01-27T14:59:38.237Z",
        "feedbackId": "000001378603177f-18c07c78-fa81-4a58-9dd1-fedc3cb8f49a-000000",
    },
    "mail": SES_MAIL,
}

SES_DELIVERY = {
    "notificationType": "Delivery",
    "mail": SES_MAIL,
    "delivery": {
        "timestamp": "2016-01-27T14:59:38.237Z",
        "recipients": ["jane@example.com"],
        "processingTimeMillis": 546,
        "reportingMTA": "a8-70.smtp-out.amazonses.com",
        "smtpResponse": "250 ok:  Message 64111812",
        "remoteMtaIp": "127.0.2.0",
    },
}

_PUBLISHED = {
    "timestamp": "2017-08-05T00:40:02.012Z",
    "source": "Sender Name <sender@example.com>",
    "messageId": "EXAMPLE7c191be45-e9aedb9a-02f9-4d12-a87d-dd0099a07f8a-000000",
    "destination": ["recipient@example.com"],
    "tags": {"ses:configuration-set": ["ConfigSet"]},
}

SES_PUBLISHED_BOUNCE = {
    "eventType": "Bounce",
    "bounce": {
        "bounceType": "Permanent",
        "bounceSubType": "General",
        "bouncedRecipients": [
            {
                "emailAddress": "recipient@example.com",
                "action": "failed",
                "status": "5.1.1",
                "diagnosticCode": "smtp; 550 5.1.1 user unknown",
            }
        ],
        "timestamp": "2017-08-05T00:41:02.669Z",
        "feedbackId": "01000157c44f053b-61b59c11-9236-11e6-8f96-7be8aexample-000000",
        "reportingMTA": "dsn; mta.example.com",
    },
    "mail": _PUBLISHED,
}

SES_TRANSIENT = {
    "eventType": "Bounce",
    "bounce": {
        "bounceType": "Transient",
        "bounceSubType": "MailboxFull",
        "bouncedRecipients": [{"emailAddress": "recipient@example.com", "status": "4.2.2", "action": "failed"}],
        "timestamp": "2017-08-05T00:41:02.669Z",
        "feedbackId": "01000157c44f053b-61b59c11-9236-11e6-8f96-transient-000000",
    },
    "mail": _PUBLISHED,
}

SES_DELAY = {
    "eventType": "DeliveryDelay",
    "mail": _PUBLISHED,
    "deliveryDelay": {
        "timestamp": "2020-06-16T00:25:40.095Z",
        "delayType": "TransientCommunicationFailure",
        "expirationTime": "2020-06-16T00:25:40.914Z",
        "delayedRecipients": [
            {
                "emailAddress": "recipient@example.com",
                "status": "4.4.1",
                "diagnosticCode": "smtp; 421 4.4.1 Unable to connect to remote host",
            }
        ],
    },
}

SES_REJECT = {"eventType": "Reject", "mail": _PUBLISHED, "reject": {"reason": "Bad content"}}

SES_SUBSCRIPTION = {
    "eventType": "Subscription",
    "mail": _PUBLISHED,
    "subscription": {
        "contactList": "ContactListName",
        "timestamp": "2022-01-12T01:00:17.910Z",
        "source": "UnsubscribeHeader",
        "newTopicPreferences": {
            "unsubscribeAll": True,
            "topicSubscriptionStatus": [{"topicName": "ExampleTopicName", "subscriptionStatus": "OptOut"}],
        },
        "oldTopicPreferences": {
            "unsubscribeAll": False,
            "topicSubscriptionStatus": [{"topicName": "ExampleTopicName", "subscriptionStatus": "OptOut"}],
        },
    },
}

SES_OPEN = {
    "eventType": "Open",
    "mail": _PUBLISHED,
    "open": {"ipAddress": "192.0.2.1", "timestamp": "2017-08-09T22:00:19.652Z", "userAgent": "Mozilla/5.0"},
}

SES_CLICK = {
    "eventType": "Click",
    "mail": _PUBLISHED,
    "click": {
        "ipAddress": "192.0.2.1",
        "link": "http://docs.aws.amazon.com/ses/latest/DeveloperGuide/send-email-smtp.html",
        "linkTags": {"samplekey0": ["samplevalue0"]},
        "timestamp": "2017-08-09T23:51:25.570Z",
    },
}

SES_SEND = {"eventType": "Send", "mail": _PUBLISHED, "send": {}}


def _sendgrid(event: str, id_: str, **more: Any) -> dict[str, Any]:
    return {
        "email": "example@test.com",
        "timestamp": 1513299569,
        "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
        "event": event,
        "category": ["cat facts"],
        "sg_event_id": id_,
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
        **more,
    }


SENDGRID = [
    _sendgrid("processed", "rWVYmVk90MjZJ9iohOBa3w=="),
    _sendgrid("deferred", "t7LEShmowp86DTdUW8M-GQ==", response="400 try again later", attempt="5"),
    _sendgrid("delivered", "rWVYmVk90MjZJ9iohOBa3wA==", response="250 OK"),
    _sendgrid("open", "FOTFFO0ecsBE-zxFXfs6WA==", useragent="Mozilla/4.0", ip="255.255.255.255"),
    _sendgrid("click", "kCAi1KttyQdEKHhdC-nuEA==", url="http://www.sendgrid.com/"),
    _sendgrid(
        "bounce",
        "6g4ZI7SA-xmRDv57GoPIPw==",
        reason="500 unknown recipient",
        status="5.0.0",
        type="bounce",
        bounce_classification="Invalid Address",
    ),
    _sendgrid("dropped", "zmzJhfJgAfUSOW80yEbPyw==", reason="Bounced Address", status="5.0.0"),
    _sendgrid("spamreport", "37nvH5QBz858KGVYCM4uOA=="),
    _sendgrid("unsubscribe", "zz_BjPgU_5pS-J8vlfB1sg=="),
    _sendgrid("group_unsubscribe", "ahSCB7xYcXFb-hEaawsPRw==", asm_group_id=10),
    _sendgrid("group_resubscribe", "w_u0vJhLT-OFfprar5N93g==", asm_group_id=10),
]

_MAILGUN_MESSAGE = {
    "headers": {
        "to": "Alice <alice@example.com>",
        "message-id": "20130503192659.13651.20287@sandbox.mailgun.org",
        "from": "Bob <bob@sandbox.mailgun.org>",
        "subject": "Test permanent_fail webhook",
    },
    "attachments": [],
    "size": 111,
}

MAILGUN_FAILED = {
    "severity": "permanent",
    "tags": ["my_tag_1", "my_tag_2"],
    "timestamp": 1521233195.375624,
    "log-level": "error",
    "event": "failed",
    "reason": "suppress-bounce",
    "recipient-domain": "example.com",
    "recipient": "alice@example.com",
    "id": "G9Bn5sl1TC6nu79C8C0bwg",
    "delivery-status": {
        "attempt-no": 1,
        "message": "",
        "code": 605,
        "enhanced-code": "",
        "description": "Not delivering to previously bounced address",
        "session-seconds": 0,
    },
    "message": _MAILGUN_MESSAGE,
}

MAILGUN_BOUNCED = {
    **MAILGUN_FAILED,
    "id": "Q_cWNbc1Q7SsJTvqKhd9kQ",
    "reason": "bounce",
    "delivery-status": {
        "tls": True,
        "mx-host": "aspmx.l.example.org",
        "attempt-no": 1,
        "code": 550,
        "bounce-type": "hard",
        "message": "5.1.1 The email account that you tried to reach does not exist. Please try\n5.1.1 double-checking",
    },
}

MAILGUN_TEMPORARY = {
    **MAILGUN_FAILED,
    "id": "Fs7-5t81S2ODsyVEwLD3Fw",
    "severity": "temporary",
    "reason": "generic",
    "delivery-status": {
        "attempt-no": 1,
        "message": "4.2.2 The email account that you tried to reach is over quota",
        "code": 452,
        "enhanced-code": "4.2.2",
        "description": "",
        "retry-seconds": 600,
    },
}


def _mailgun(event: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"CPgfbmQMTCKtHW6uIWtuVe-{event}",
        "timestamp": 1521472262.908181,
        "event": event,
        "recipient": "alice@example.com",
        "message": _MAILGUN_MESSAGE,
        **more,
    }


MAILGUN_DELIVERED = _mailgun(
    "delivered",
    **{"delivery-status": {"tls": True, "mx-host": "smtp-in.example.com", "code": 250, "message": "OK"}},
)
MAILGUN_COMPLAINED = _mailgun("complained")
MAILGUN_UNSUBSCRIBED = _mailgun("unsubscribed")
MAILGUN_OPENED = _mailgun("opened")
MAILGUN_ACCEPTED = _mailgun("accepted")

POSTMARK_BOUNCE = {
    "RecordType": "Bounce",
    "MessageStream": "outbound",
    "ID": 4323372036854775807,
    "Type": "HardBounce",
    "TypeCode": 1,
    "Name": "Hard bounce",
    "Tag": "Test",
    "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
    "Metadata": {"a_key": "a_value", "b_key": "b_value"},
    "ServerID": 23,
    "Description": "The server was unable to deliver your message (ex: unknown user, mailbox not found).",
    "Details": "smtp;550 5.1.1 The email account that you tried to reach does not exist.",
    "Email": "john@example.com",
    "From": "sender@example.com",
    "BouncedAt": "2019-11-05T16:33:54.9070259Z",
    "DumpAvailable": True,
    "Inactive": True,
    "CanActivate": True,
    "Subject": "Test subject",
}

POSTMARK_DELIVERY = {
    "RecordType": "Delivery",
    "ServerID": 23,
    "MessageStream": "outbound",
    "MessageID": "00000000-0000-0000-0000-000000000000",
    "Recipient": "john@example.com",
    "Tag": "welcome-email",
    "DeliveredAt": "2019-11-05T16:33:54.9070259Z",
    "Details": "Test delivery webhook details",
    "Metadata": {"example": "value"},
}

POSTMARK_COMPLAINT = {
    "RecordType": "SpamComplaint",
    "MessageStream": "outbound",
    "ID": 42,
    "Type": "SpamComplaint",
    "TypeCode": 512,
    "Name": "Spam complaint",
    "MessageID": "00000000-0000-0000-0000-000000000000",
    "Details": "Test spam complaint details",
    "Email": "john@example.com",
    "From": "sender@example.com",
    "BouncedAt": "2019-11-05T16:33:54.9070259Z",
}

POSTMARK_SUBSCRIPTION = {
    "RecordType": "SubscriptionChange",
    "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
    "ServerID": 123456,
    "MessageStream": "outbound",
    "ChangedAt": "2020-02-01T10:53:34.416071Z",
    "Recipient": "bounced-address@wildbit.com",
    "Origin": "Recipient",
    "SuppressSending": True,
    "SuppressionReason": "ManualSuppression",
}

_MAILJET = {
    "MessageID": 13792286917004336,
    "Message_GUID": "1ab23cd4-e567-8901-2345-6789f0gh1i2j",
    "email": "bounce@mailjet.com",
    "mj_campaign_id": 0,
    "mj_contact_id": 0,
    "customcampaign": "",
    "CustomID": "helloworld",
    "Payload": "",
}
MAILJET_BOUNCE = {
    "event": "bounce",
    "time": 1430812195,
    **_MAILJET,
    "blocked": False,
    "hard_bounce": True,
    "error_related_to": "recipient",
    "error": "user unknown",
    "comment": "Host or domain name not found. Name service error for name=lbjsnrftlsiuvbsren.com type=A",
}
MAILJET_BLOCKED = {
    "event": "blocked",
    "time": 1430812195,
    **_MAILJET,
    "error_related_to": "recipient",
    "error": "user unknown",
}
MAILJET_SENT = {
    "event": "sent",
    "time": 1433333949,
    **_MAILJET,
    "smtp_reply": "sent (250 2.0.0 OK 1433333948 fa5si855896wjc.199 - gsmtp)",
}
MAILJET_SPAM = {"event": "spam", "time": 1430812195, **_MAILJET, "source": "JMRPP"}
MAILJET_UNSUB = {"event": "unsub", "time": 1433334941, **_MAILJET, "mj_list_id": 1}
MAILJET_OPEN = {"event": "open", "time": 1433103519, **_MAILJET, "ip": "127.0.0.1"}

_BREVO = {
    "email": "example@domain.com",
    "id": 26224,
    "date": "2020-10-09 00:00:00",
    "ts": 1604937337,
    "message-id": "<201798300811.5787683@relay.domain.com>",
    "ts_event": 1604937111,
    "ts_epoch": 1604937111000,
    "subject": "My first Transactional",
    "tag": '["myFirstTransactional"]',
    "sending_ip": "xxx.xxx.xxx.xxx",
}
BREVO_HARD = {"event": "hard_bounce", **_BREVO, "reason": "550 5.1.1 no such user"}
BREVO_SOFT = {"event": "soft_bounce", **_BREVO, "reason": "server is down or not answering"}
BREVO_DELIVERED = {"event": "delivered", **_BREVO}
BREVO_DEFERRED = {"event": "deferred", **_BREVO, "reason": "spam"}
BREVO_SPAM = {"event": "spam", **_BREVO}
BREVO_UNSUBSCRIBED = {"event": "unsubscribed", **_BREVO}
BREVO_REQUEST = {"event": "request", **_BREVO}
BREVO_OPENED = {"event": "unique_opened", **_BREVO}

_RESEND = {
    "created_at": "2023-02-22T23:41:11.894719+00:00",
    "email_id": "56761188-7520-42d8-8898-ff6fc54ce618",
    "from": "Acme <onboarding@resend.dev>",
    "to": ["delivered@resend.dev"],
    "subject": "Sending this example",
}
RESEND_BOUNCED = {
    "type": "email.bounced",
    "created_at": "2024-11-22T23:41:12.126Z",
    "data": {
        **_RESEND,
        "bounce": {
            "message": "The recipient's email address is on the suppression list because it has a recent history of "
            "producing hard bounces.",
            "subType": "Suppressed",
            "type": "Permanent",
        },
    },
}
RESEND_DELIVERED = {"type": "email.delivered", "created_at": "2023-02-22T23:41:12.126Z", "data": _RESEND}
RESEND_DELAYED = {"type": "email.delivery_delayed", "created_at": "2023-02-22T23:41:12.126Z", "data": _RESEND}
RESEND_COMPLAINED = {"type": "email.complained", "created_at": "2023-02-22T23:41:12.126Z", "data": _RESEND}
RESEND_SENT = {"type": "email.sent", "created_at": "2023-02-22T23:41:12.126Z", "data": _RESEND}
RESEND_CLICKED = {"type": "email.clicked", "created_at": "2024-11-22T23:41:12.126Z", "data": _RESEND}
