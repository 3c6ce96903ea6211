-- What did administrators change, and what did it revoke?
-- :user text = *: by whom, as alice; * for everybody
SELECT time, type, actor, target_kind, target, scope, outcome, reason, element_at(data, 'revoked') AS revoked, element_at(data, 'before') AS before, element_at(data, 'after') AS after,
  element_at(data, 'before_sha256') AS before_sha256, element_at(data, 'after_sha256') AS after_sha256, request_id, source_ip
FROM events
WHERE type IN ('resource.created', 'resource.updated', 'resource.deleted') AND (:user = '*' OR actor IN (:user, 'user/' || :user))
ORDER BY time, id, receipt
