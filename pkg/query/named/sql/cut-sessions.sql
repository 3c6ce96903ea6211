-- Which sessions were ended by a lock or a revocation, and how soon after the change?
SELECT cut_at, actor, target_kind, target, session_id, reason, changed_at, changed_by, milliseconds
FROM (
  SELECT e.id, e.receipt, e.time AS cut_at, e.actor, e.target_kind, e.target, e.session_id, e.reason, c.time AS changed_at, c.actor AS changed_by,
         date_diff('millisecond', c.time, e.time) AS milliseconds,
         row_number() OVER (PARTITION BY e.id, e.receipt ORDER BY c.time DESC, c.id DESC, c.receipt DESC) AS nth
  FROM events e
  LEFT JOIN events c ON c.type IN ('resource.created', 'resource.updated', 'resource.deleted')
    AND coalesce(element_at(c.data, 'revoked'), '') <> ''
    AND element_at(c.data, 'revoked') = split_part(split_part(e.reason, 'the certificate was revoked: ', 2), ' was ', 1)
    AND c.time <= date_add('minute', 1, e.time)
  WHERE e.type = 'session.end' AND (starts_with(e.reason, 'the certificate was revoked') OR starts_with(e.reason, 'locked: '))
)
WHERE nth = 1
ORDER BY cut_at, id, receipt
