-- Which sessions were ended by a lock or a revocation, and how soon after the change?
SELECT e.time AS cut_at, e.actor, e.target_kind, e.target, e.session_id, e.reason, c.time AS changed_at, c.actor AS changed_by, date_diff('millisecond', c.time, e.time) AS milliseconds
FROM events e
LEFT JOIN events c ON c.type IN ('resource.created', 'resource.updated', 'resource.deleted')
  AND coalesce(element_at(c.data, 'revoked'), '') <> '' AND starts_with(e.reason, 'the certificate was revoked: ' || element_at(c.data, 'revoked'))
WHERE e.type = 'session.end' AND (starts_with(e.reason, 'the certificate was revoked') OR starts_with(e.reason, 'locked: '))
ORDER BY e.time, e.id, e.receipt, c.time, c.id, c.receipt
