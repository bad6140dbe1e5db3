-- name: run_columns
-- What every query for runs begins with. `letters` has one letter a job, in the order of ids: the
-- counts of all stages cost one short text instead of a row for each job.
SELECT r.id, r.pipeline, v.revision, r.client_id, r.trigger, r.state, r.reason, r.priority, r.input,
       r.allowed_failures, r.created_ms, r.started_ms, r.finished_ms, r.scheduled_for_ms,
       r.schedule_id, r.revision_id,
       (SELECT group_concat(substr(state, 1, 1), '') FROM (
            SELECT state FROM jobs
            WHERE id BETWEEN r.first_job_id AND r.first_job_id + r.job_count - 1 ORDER BY id)),
       (SELECT json_array(j.run_id, j.id) FROM children AS c JOIN jobs AS j ON j.id = c.job_id
        WHERE c.run_id = r.id)

-- name: run
FROM runs AS r LEFT JOIN revisions AS v ON v.id = r.revision_id WHERE r.id = ?

-- name: runs_among
FROM json_each(?) AS wanted JOIN runs AS r ON r.id = wanted.value
LEFT JOIN revisions AS v ON v.id = r.revision_id ORDER BY r.id DESC

-- name: scan_all
SELECT id FROM runs WHERE id < :below AND id >= :from

-- name: scan_pipeline
SELECT id FROM runs INDEXED BY runs_by_pipeline
WHERE pipeline = :pipeline AND id < :below AND id >= :from

-- name: scan_client
SELECT id FROM runs INDEXED BY runs_by_client
WHERE client_id = :client AND id < :below AND id >= :from

-- name: scan_open
SELECT id FROM runs INDEXED BY runs_open
WHERE state IN ('READY', 'IN_PROGRESS') AND id < :below AND id >= :from

-- name: scan_failed
SELECT id FROM runs INDEXED BY runs_failed
WHERE state = :state AND state IN ('ERROR', 'CANCELLED') AND id < :below AND id >= :from

-- name: matching
-- Goes on from a scan: what its index does not know is looked up in the row.
AND (:pipeline IS NULL OR pipeline = :pipeline) AND (:client IS NULL OR client_id = :client)
AND (:state IS NULL OR state = :state) AND created_ms >= :since
ORDER BY id DESC LIMIT :limit

-- name: reached
-- Goes on from a scan: how far so many rows of its index reach.
ORDER BY id DESC LIMIT 1 OFFSET :scanned - 1

-- name: at_or_after
SELECT id, created_ms FROM runs WHERE id >= ? ORDER BY id LIMIT 1

-- name: last_id
SELECT coalesce(max(id), 0) FROM runs

-- name: outline
SELECT definition FROM revisions WHERE id = ?

-- name: run_jobs
-- Of a retry to come, `ready_ms` is by the steady clock: see control/model/clock.py.
SELECT j.id, j.run_id, j.idx, j.state, j.reason, j.priority, j.attempt, j.worker, j.partition,
       j.progress, o.output, j.error, r.created_ms, iif(j.delayed, j.ready_ms + coalesce(
           (SELECT json_extract(value, '$.ahead_ms') FROM settings WHERE name = 'clock'), 0),
       j.ready_ms), j.started_ms, j.finished_ms,
       j.exit_code, j.log_bytes, r.revision_id,
       (SELECT max(run_id) FROM children WHERE job_id = j.id)
FROM runs AS r
JOIN jobs AS j ON j.id BETWEEN r.first_job_id AND r.first_job_id + r.job_count - 1
LEFT JOIN outputs AS o ON o.job_id = j.id
WHERE r.id = ? AND j.id > ? ORDER BY j.id LIMIT ?

-- name: job
SELECT j.id, j.run_id, j.idx, j.state, j.reason, j.priority, j.attempt, j.worker, j.partition,
       j.progress, o.output, j.error, r.created_ms, iif(j.delayed, j.ready_ms + coalesce(
           (SELECT json_extract(value, '$.ahead_ms') FROM settings WHERE name = 'clock'), 0),
       j.ready_ms), j.started_ms, j.finished_ms,
       j.exit_code, j.log_bytes, r.revision_id,
       (SELECT max(run_id) FROM children WHERE job_id = j.id)
FROM jobs AS j JOIN runs AS r ON r.id = j.run_id LEFT JOIN outputs AS o ON o.job_id = j.id
WHERE j.id = ?

-- name: jobs_among
-- Without outputs: for live frames.
SELECT j.id, j.run_id, j.idx, j.state, j.reason, j.priority, j.attempt, j.worker, j.partition,
       j.progress, NULL, j.error, r.created_ms, iif(j.delayed, j.ready_ms + coalesce(
           (SELECT json_extract(value, '$.ahead_ms') FROM settings WHERE name = 'clock'), 0),
       j.ready_ms), j.started_ms, j.finished_ms,
       j.exit_code, j.log_bytes, r.revision_id,
       (SELECT max(run_id) FROM children WHERE job_id = j.id)
FROM json_each(?) AS wanted JOIN jobs AS j ON j.id = wanted.value JOIN runs AS r ON r.id = j.run_id

-- name: attempts
SELECT attempt, outcome, worker, partition, error, exit_code, log_bytes, started_ms, finished_ms
FROM attempts WHERE job_id = ? ORDER BY attempt

-- name: run_client
SELECT client_id, state FROM runs WHERE id = ?

-- name: job_client
SELECT r.client_id FROM jobs AS j JOIN runs AS r ON r.id = j.run_id WHERE j.id = ?

-- name: open_jobs
-- CROSS JOIN keeps the order: few runs are asked for, and each one's jobs are one stretch of ids.
SELECT r.id, r.revision_id, j.idx, j.state, j.started_ms
FROM json_each(?) AS wanted CROSS JOIN runs AS r ON r.id = wanted.value
CROSS JOIN jobs AS j ON j.id BETWEEN r.first_job_id AND r.first_job_id + r.job_count - 1
WHERE j.state IN ('READY', 'IN_PROGRESS')

-- name: job_states
-- Letters of a run's jobs in the order of their ids.
SELECT r.id, r.revision_id, r.first_job_id, r.client_id, r.state, r.reason,
       (SELECT group_concat(substr(state, 1, 1), '') FROM (
            SELECT state FROM jobs
            WHERE id BETWEEN r.first_job_id AND r.first_job_id + r.job_count - 1 ORDER BY id))
FROM runs AS r JOIN jobs AS j ON j.run_id = r.id WHERE j.id = ?

-- name: open_runs
SELECT count(*) FROM runs WHERE state IN ('READY', 'IN_PROGRESS')

-- name: waiting_jobs
SELECT coalesce(sum(waiting), 0) FROM clients

-- name: past
-- Only rows older than the bound are looked at; those that were pruned are gone.
SELECT id FROM runs
WHERE id < ? AND finished_ms < ? AND state IN ('DONE', 'CANCELLED', 'ERROR')
ORDER BY id LIMIT ?

-- name: job_range
SELECT first_job_id, job_count, state FROM runs WHERE id = ?

-- name: delete_outputs
DELETE FROM outputs WHERE job_id BETWEEN ? AND ?

-- name: delete_attempts
DELETE FROM attempts WHERE job_id BETWEEN ? AND ?

-- name: delete_jobs
DELETE FROM jobs WHERE id BETWEEN ? AND ?

-- name: delete_run
DELETE FROM runs WHERE id = ?

-- name: delete_family
-- With the last run of the family, its first one or another.
DELETE FROM families WHERE root_run_id = ?1
    AND NOT EXISTS (SELECT 1 FROM runs WHERE root_run_id = ?1)
    AND NOT EXISTS (SELECT 1 FROM runs WHERE id = ?1)

-- name: delete_unused_unnamed
-- A definition that was run once and never stored goes with the last of its runs.
DELETE FROM revisions WHERE id = ? AND revision IS NULL
    AND NOT EXISTS (SELECT 1 FROM runs WHERE revision_id = revisions.id)

-- name: revision_of
SELECT revision_id, coalesce(root_run_id, id) FROM runs WHERE id = ?
