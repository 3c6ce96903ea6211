-- Who logged in during the period, but had no session for a while before its end?
-- :days days 1..366 = 30: how many days without a session; the period has as many at least
SELECT l.actor, l.last_login, s.last_session, l.logins
FROM (SELECT actor, max(time) AS last_login, count(*) AS logins FROM events WHERE type = 'user.login' GROUP BY actor) l
LEFT JOIN (SELECT actor, max(time) AS last_session FROM events WHERE type = 'session.start' GROUP BY actor) s ON s.actor = l.actor
CROSS JOIN period p
WHERE s.last_session IS NULL OR date_diff('day', s.last_session, p.until) >= :days
ORDER BY l.actor
