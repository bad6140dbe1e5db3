-- name: insert
INSERT INTO children (run_id, job_id, attempt, started_ms, waits, deadline_ms)
VALUES (?, ?, ?, ?, ?, ?)

-- name: of_job
-- The last run that was started for a job, and how it is.
SELECT c.run_id, c.attempt, r.state, r.ending IS NOT NULL, r.revision_id,
       coalesce(r.input, 'null')
FROM children AS c JOIN runs AS r ON r.id = c.run_id
WHERE c.job_id = ? ORDER BY c.run_id DESC LIMIT 1

-- name: waited_for
-- The runs whose end an attempt at a job waits for.
SELECT run_id, job_id, attempt, started_ms FROM children
WHERE job_id = ? AND attempt <= ? AND waits = 1

-- name: parent
SELECT run_id, job_id, attempt, started_ms, waits = 2 FROM children WHERE run_id = ? AND waits > 0

-- name: retry_later
UPDATE children SET waits = 2 WHERE run_id = ?

-- name: take
UPDATE children SET attempt = ?, started_ms = ?, waits = ?, deadline_ms = ? WHERE run_id = ?

-- name: answered
UPDATE children SET waits = 0, deadline_ms = NULL WHERE run_id = ?

-- name: forget_deadline
UPDATE children SET deadline_ms = NULL WHERE run_id = ?

-- name: due
SELECT run_id, job_id, attempt, started_ms FROM children
WHERE deadline_ms IS NOT NULL AND deadline_ms <= ? ORDER BY deadline_ms LIMIT ?

-- name: unstopped
-- Runs that are waited for by jobs that have ended.
SELECT c.run_id, c.job_id, c.attempt, c.started_ms
FROM children AS c JOIN jobs AS j ON j.id = c.job_id
WHERE c.waits = 1 AND j.state IN ('DONE', 'CANCELLED', 'ERROR') LIMIT ?

-- name: names
-- The pipelines whose runs are jobs of each other, from the first one down to this run's.
WITH RECURSIVE above (run_id, depth) AS (
    SELECT ?1, 0
    UNION ALL
    SELECT j.run_id, above.depth + 1
    FROM above
    JOIN children AS c ON c.run_id = above.run_id
    JOIN jobs AS j ON j.id = c.job_id
)
SELECT r.pipeline FROM above JOIN runs AS r ON r.id = above.run_id ORDER BY above.depth DESC
