-- Of which sessions is the recording damaged, or was abandoned?
SELECT time, type, session_id, actor, target, outcome, reason, element_at(data, 'missing') AS missing
FROM events
WHERE type IN ('recording.damaged', 'recording.abandoned') OR type = 'recording.end' AND coalesce(element_at(data, 'missing'), '0') NOT IN ('', '0')
ORDER BY time, id, receipt
