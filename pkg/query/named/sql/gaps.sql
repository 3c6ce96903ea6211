-- Which numbered events of agents never reached the ledger?
SELECT time, element_at(data, 'source') AS of_source, element_at(data, 'epoch') AS epoch, element_at(data, 'from') AS first_missing,
       element_at(data, 'to') AS last_missing, element_at(data, 'after') AS received_before, element_at(data, 'seen') AS shown_at, element_at(data, 'more') AS more
FROM events
WHERE type = 'ledger.gap'
ORDER BY time, id, receipt
