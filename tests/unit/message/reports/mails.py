"""Reports as mail servers and providers write them."""

from __future__ import annotations

from outbox.message.bounce_address import BounceAddresses

KEY = b"k" * 32
ADDRESSES = BounceAddresses("bounces.example.org", (KEY,))
TOKEN = ADDRESSES.of_message(7)
TO = ADDRESSES.address(TOKEN)

TWO_FAILED = f"""\
Return-Path: <>
Delivered-To: {TO}
Date: Fri, 27 Nov 2026 10:05:00 +0100 (CET)
From: MAILER-DAEMON@mx.example.org (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: {TO}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="ABC/mx.example.org"
Message-Id: <20261127090500.ABC@mx.example.org>

This is a MIME-encapsulated message.

--ABC/mx.example.org
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--ABC/mx.example.org
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org
Original-Envelope-Id: {TOKEN}
Arrival-Date: Fri, 27 Nov 2026 10:04:58 +0100 (CET)

Final-Recipient: rfc822; ann@elsewhere.example
Original-Recipient: rfc822;Ann@example.com
Action: failed
Status: 5.1.1
Remote-MTA: dns; mail.example.com
Diagnostic-Code: smtp; 550 5.1.1 <ann@elsewhere.example>: Recipient address
    rejected: User unknown
Last-Attempt-Date: Fri, 27 Nov 2026 10:04:59 +0100

Final-Recipient: rfc822; bob@example.com
Action: delayed
Status: 4.2.2
Diagnostic-Code: smtp; 452-4.2.2 mailbox full
Will-Retry-Until: Sat, 28 Nov 2026 10:04:59 +0100

--ABC/mx.example.org
Content-Type: text/rfc822-headers

Return-Path: <{TO}>
Message-ID: <1.2@app.example.org>
To: Ann@example.com

--ABC/mx.example.org--
"""

COMPLAINT = f"""\
From: <feedback@provider.example>
Date: Fri, 27 Nov 2026 12:00:00 +0000
To: fbl@example.org
Subject: FW: Your news
Message-ID: <fbl-1@provider.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="part"

--part
Content-Type: text/plain

This is an email abuse report.
--part
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <{TO}>
Original-Rcpt-To: <redacted@provider.example>
Arrival-Date: Fri, 27 Nov 2026 11:00:00 +0000
--part
Content-Type: message/rfc822

Return-Path: <{TO}>
From: app@example.org
To: undisclosed
Subject: Your news
Message-ID: <9.9@app.example.org>

Hello
--part--
"""

INTERNATIONAL = """\
From: MAILER-DAEMON@mx.example.org
Message-ID: <utf8@mx.example.org>
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: message/global-delivery-status
Content-Transfer-Encoding: 8bit

Reporting-MTA: dns; mx.example.org

Original-Recipient: utf-8; j\\x{F6}rg@example.com
Final-Recipient: utf-8; jörg@example.com
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 Adresse unbekannt: jörg
--b
Content-Type: message/global-headers

Message-ID: <3.3@app.example.org>
--b--
"""

VACATION = f"""\
From: Ann <ann@example.com>
To: {TO}
Subject: Re: Your receipt
Auto-Submitted: auto-replied (vacation)
In-Reply-To: <1.2@app.example.org>
Message-ID: <vac@example.com>

The mailbox is fine: user unknown is not what this says.
"""

QMAIL = f"""\
Return-Path: <>
From: MAILER-DAEMON@old.example.net
To: {TO}
Subject: failure notice
Date: 27 Nov 2026 10:00:00 -0000

Hi. This is the qmail-send program at old.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<carol@example.net>:
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.

Return-Path: <{TO}>
"""
