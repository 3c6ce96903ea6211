-- What happened that somebody should look at?
SELECT type, code, count(*) AS times, count(DISTINCT actor) AS actors, min(time) AS first, max(time) AS last, max_by(reason, time) AS last_reason
FROM events
WHERE substr(code, length(code), 1) = 'W'
GROUP BY type, code
ORDER BY type, code
