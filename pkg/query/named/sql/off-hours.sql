-- Who began sessions outside of office hours, or on a weekend?
-- :from_hour number 0..23 = 7: hour at which the office opens
-- :to_hour number 1..24 = 19: hour at which it closes
-- :offset number -14..14 = 0: hours that the office's clock is ahead of UTC
SELECT time, actor, target_kind, target, element_at(data, 'login') AS login, source_ip, session_id
FROM events
WHERE type = 'session.start'
  AND (hour(date_add('hour', :offset, time)) < :from_hour OR hour(date_add('hour', :offset, time)) >= :to_hour OR day_of_week(date_add('hour', :offset, time)) IN (6, 7))
ORDER BY time, id, receipt
