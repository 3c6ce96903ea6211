-- Who was on a node, and what was refused there?
-- :node text: name of the node
SELECT time, type, actor, element_at(data, 'login') AS login, element_at(data, 'command') AS command, element_at(data, 'command_bytes') AS command_bytes, outcome, reason, source_ip, session_id, decision_id
FROM events
WHERE target_kind = 'node' AND (target = :node OR 'node/' || target = :node) AND type IN ('session.start', 'session.end', 'session.denied')
ORDER BY time, id, receipt
