-- What is there about one id: a session, a request, a decision, a certificate, a user, a host or an event?
-- :id text: the id, as ses_…, dec_…, crt_…, usr_… or agt_…
SELECT time, type, actor, target_kind, target, outcome, reason, session_id, request_id, decision_id, source, source_ip, id
FROM events
WHERE id = :id OR session_id = :id OR request_id = :id OR decision_id = :id OR target = :id OR target_kind || '/' || target = :id OR source = 'agent/' || :id OR source = 'proxy/' || :id
   OR actor IN (:id, 'agent/' || :id, 'proxy/' || :id, 'user/' || :id) OR element_at(data, 'uid') = :id OR element_at(data, 'certificate') = :id
ORDER BY time, id, receipt
