-- Who was denied what, and why?
-- :user text = *: of whom, as alice; * for everybody
SELECT time, type, actor, target_kind, target, scope, reason, decision_id, source_ip
FROM events
WHERE outcome = 'denied' AND (:user = '*' OR actor IN (:user, 'user/' || :user))
ORDER BY time, id, receipt
