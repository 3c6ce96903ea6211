-- Who was given whose recordings to read?
-- :user text = *: whose recordings, as alice; * for everybody's
SELECT time, actor, element_at(data, 'user') AS whose, session_id AS recording, target_kind, target, outcome, source_ip, request_id
FROM events
WHERE type = 'recording.read' AND (:user = '*' OR element_at(data, 'user') = :user OR 'user/' || element_at(data, 'user') = :user)
ORDER BY time, id, receipt
