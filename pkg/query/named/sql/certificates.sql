-- Which certificates did which signer issue, to whom, and how had they proven who they are?
-- :actor text = *: to whom, as alice or agent/agt_…; * for everybody
SELECT time, source AS signer, actor, type, target AS certificate, element_at(data, 'method') AS method, element_at(data, 'aws') AS aws_role, element_at(data, 'mapping') AS mapping,
       element_at(data, 'logins') AS logins, element_at(data, 'token') AS token, source_ip
FROM events
WHERE type IN ('user.login', 'agent.join', 'agent.renew', 'proxy.join') AND outcome = 'success'
  AND coalesce(element_at(data, 'repeated'), '') <> 'true' AND (:actor = '*' OR actor IN (:actor, 'user/' || :actor))
ORDER BY time, id, receipt
