-- Which commands were run without a terminal, or as what began a session?
-- :user text = *: by whom, as alice; * for everybody
SELECT time, actor, target, element_at(data, 'login') AS login, element_at(data, 'command') AS command,
  element_at(data, 'command_bytes') AS command_bytes, element_at(data, 'command_sha256') AS command_sha256, session_id, source_ip
FROM events
WHERE type = 'session.start' AND coalesce(element_at(data, 'command'), '') <> '' AND (:user = '*' OR actor IN (:user, 'user/' || :user))
ORDER BY time, id, receipt
