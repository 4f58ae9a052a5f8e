-- A history of :messages messages with one recipient each, over 30 days (a thirtieth in the last one): 3 % failed
-- for 40 causes, 1 % cancelled, some old ones uncertain, the newest 2 % queued, half of them due, and the rest sent. Fifty
-- thousand changes by people, two pauses. All made within the server.

INSERT INTO outbox_message (message_id, environment, kind, lane, envelope_from, subject, headers, skeleton, size,
                            smtputf8, on_uncertain, created_at)
SELECT '<' || n || '@bench.example>', '',
       CASE WHEN n % 100000 = 7 THEN 'rare' ELSE (ARRAY['newsletter', 'receipt', 'password-reset', NULL])[1 + n % 4] END,
       CASE WHEN n % 4 = 2 THEN 0 WHEN n % 4 = 0 THEN 2 ELSE 1 END,
       'shop@bench.example', 'The subject of message ' || n || ', as long as subjects are',
       json_build_array(json_build_array('From', 'The Shop <shop@bench.example>'),
                        json_build_array('To', 'user' || n || '@domain' || n % 50 || '.example'),
                        json_build_array('Subject', 'The subject of message ' || n)),
       convert_to('From: The Shop <shop@bench.example>' || E'\r\n\r\n' || repeat(md5(n::text) || E'\r\n', 20), 'UTF8'),
       35 + 4 + 20 * 34, false, 'retry', now() - (:messages - n) * interval '30 days' / :messages
  FROM generate_series(1, :messages) AS n;

INSERT INTO outbox_delivery (message_id, recipient, domain, state, lane, due_at, attempts, rescues, token, code,
                             enhanced, reply, reason, updated_at, finished_at)
SELECT m.id, 'user' || m.id || '@domain' || m.id % 50 || '.example', 'domain' || m.id % 50 || '.example', s.state,
       2 * m.lane, CASE WHEN s.state = 'queued' THEN now() + (m.id % 3 - 0.5) * interval '1 hour' END,
       CASE WHEN s.state = 'queued' THEN 0 ELSE 1 END, 0, NULL,
       CASE s.state WHEN 'sent' THEN 250 WHEN 'failed' THEN 550 END,
       CASE s.state WHEN 'sent' THEN '2.0.0' WHEN 'failed' THEN '5.1.' || m.id % 40 END,
       CASE s.state WHEN 'sent' THEN 'Ok: queued as ' || md5(m.id::text)
                    WHEN 'failed' THEN 'Requested action not taken: mailbox unavailable ' || m.id END,
       CASE s.state WHEN 'failed' THEN 'refused' WHEN 'cancelled' THEN 'by-hand' END,
       m.created_at + interval '3 s',
       CASE WHEN s.state = 'queued' THEN NULL ELSE least(m.created_at + interval '3 s', now()) END
  FROM outbox_message AS m,
       LATERAL (SELECT CASE WHEN h >= 97100 AND m.id * 20 < :messages THEN 'uncertain'
                            WHEN h >= 97000 AND h < 98000 THEN 'cancelled' WHEN h >= 94000 AND h < 97000 THEN 'failed'
                            WHEN m.id * 50 > 49 * :messages THEN 'queued' ELSE 'sent' END AS state
                  FROM (SELECT abs(hashint8(m.id)) % 100000 AS h) AS hashed) AS s;

INSERT INTO outbox_attempt (delivery_id, at, worker_id, transport, phase, verdict, code, enhanced, reply, duration,
                            counted, fenced)
SELECT d.id, d.updated_at, 1, 'smtp.bench.example:587', CASE d.state WHEN 'sent' THEN 'dot' ELSE 'rcpt' END,
       CASE d.state WHEN 'sent' THEN 'accepted' ELSE 'permanent' END, d.code, d.enhanced, d.reply, 0.05, true, false
  FROM outbox_delivery AS d WHERE d.state IN ('sent', 'failed');

INSERT INTO outbox_worker (host, pid, version, environment, connections, started_at, heartbeat_at, health)
VALUES ('mail-1', 4711, '1.0', '', 8, now() - interval '1 day', now(),
        '{"transport": {"name": "smtp.bench.example:587", "state": "closed"}}');

INSERT INTO outbox_audit (at, action, actor, count, filters, note, delivery_ids)
SELECT now() - (50000 - n) * interval '1 minute', (ARRAY['requeue', 'cancel', 'mark-sent'])[1 + n % 3],
       'person' || n % 7 || '@bench.example', 1, 'id=' || n, 'for a reason', ' ' || n || ' '
  FROM generate_series(1, 50000) AS n;

INSERT INTO outbox_pause (what, value, reason, actor, since)
VALUES ('kind', 'receipt', 'their server is down', 'person1@bench.example', now() - interval '1 hour'),
       ('domain', 'domain11.example', 'listed there', 'person2@bench.example', now() - interval '2 hours');
