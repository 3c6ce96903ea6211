-- How did agents and proxies join, and which were refused?
SELECT type, coalesce(element_at(data, 'method'), '') AS method, coalesce(element_at(data, 'token'), '') AS token, outcome,
       count(*) AS times, count(DISTINCT actor) AS hosts, min(time) AS first, max(time) AS last
FROM events
WHERE type IN ('agent.join', 'agent.join_refused', 'agent.quarantined', 'proxy.join') AND coalesce(element_at(data, 'repeated'), '') <> 'true'
GROUP BY type, coalesce(element_at(data, 'method'), ''), coalesce(element_at(data, 'token'), ''), outcome
ORDER BY type, method, token, outcome
