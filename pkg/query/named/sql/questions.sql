-- Who asked the audit lake what?
SELECT time, actor, target, element_at(data, 'sql') AS sql, element_at(data, 'sql_sha256') AS sql_sha256, element_at(data, 'parameters') AS parameters,
       element_at(data, 'since') AS since, element_at(data, 'until') AS until, source_ip
FROM events
WHERE type = 'lake.queried'
ORDER BY time, id, receipt
