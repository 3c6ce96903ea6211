-- When were trust and policy published, and which documents were refused or stale?
SELECT time, type, actor, source, target, outcome, reason
FROM events
WHERE type IN ('trust.published', 'policy.published', 'document.refused', 'revocations.coarsened', 'documents.stale', 'documents.fresh')
ORDER BY time, id, receipt
