-- Who reached what, from where, and for how long?
-- :user text = *: of whom, as alice; * for everybody
-- :target text = *: on what, as node/node-1 or node-1; * for everything
SELECT s.time AS started, e.time AS ended, s.actor, s.target_kind, s.target, s.scope,
       coalesce(element_at(s.data, 'login'), element_at(s.data, 'user'), element_at(s.data, 'group')) AS login,
       element_at(s.data, 'kind') AS kind, s.source_ip, s.session_id, e.reason AS why_ended
FROM events s
LEFT JOIN (SELECT session_id, min(time) AS time, min_by(reason, time) AS reason FROM events
           WHERE type = 'session.end' GROUP BY session_id) e ON e.session_id = s.session_id
WHERE s.type = 'session.start'
  AND (:user = '*' OR s.actor IN (:user, 'user/' || :user))
  AND (:target = '*' OR s.target = :target OR s.target_kind || '/' || s.target = :target)
ORDER BY s.time, s.id, s.receipt
