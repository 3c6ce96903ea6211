-- Who had a session under a privileged login?
-- :login text = root: the login that counts as privileged
SELECT time, actor, target_kind, target, scope, element_at(data, 'login') AS login, element_at(data, 'command') AS command, element_at(data, 'command_bytes') AS command_bytes, source_ip, session_id
FROM events
WHERE type = 'session.start' AND element_at(data, 'login') = :login
ORDER BY time, id, receipt
