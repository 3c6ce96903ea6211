-- Which roles were changed, by whom, and from what to what?
-- :role text = *: which role; * for all
SELECT time, type, actor, target, outcome, element_at(data, 'before') AS before, element_at(data, 'after') AS after,
  element_at(data, 'before_sha256') AS before_sha256, element_at(data, 'after_sha256') AS after_sha256, request_id, source_ip
FROM events
WHERE type IN ('resource.created', 'resource.updated', 'resource.deleted') AND target_kind = 'role' AND (:role = '*' OR target = :role OR 'role/' || target = :role)
ORDER BY time, id, receipt
