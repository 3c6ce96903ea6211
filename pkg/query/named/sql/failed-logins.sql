-- From which addresses did logins fail, how often, and why?
SELECT source_ip, count(*) AS failed, count(DISTINCT actor) AS callers, min(time) AS first, max(time) AS last, max_by(reason, time) AS last_reason
FROM events
WHERE type = 'user.login_refused'
GROUP BY source_ip
ORDER BY failed DESC, source_ip
