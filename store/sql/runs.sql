-- name: installation
SELECT name FROM installation

-- name: sequences
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'runs'), 0),
       coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'jobs'), 0)

-- name: insert_runs
INSERT INTO runs (
    id, revision_id, pipeline, client_id, trigger, state, reason, priority, input,
    allowed_failures, created_ms, started_ms, finished_ms, deadline_ms, schedule_id,
    scheduled_for_ms, depth, root_run_id, first_job_id, job_count
) VALUES /* rows */ (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: insert_jobs
INSERT INTO jobs (id, run_id, idx, state, reason, priority, ready_ms, finished_ms)
VALUES /* rows */ (?, ?, ?, ?, ?, ?, ?, ?)

-- name: load
-- One row with everything as JSON: each row fetched from Python costs a turn of the interpreter
-- lock. The jobs of a run are a range of ids.
SELECT json_group_array(json_array(
    r.id, r.revision_id, r.pipeline, r.client_id, coalesce(c.priority, 10), c.max_running,
    r.state, r.reason, r.priority, r.trigger, r.allowed_failures, r.created_ms, r.started_ms,
    r.finished_ms, r.deadline_ms, r.schedule_id, r.scheduled_for_ms, r.depth,
    coalesce(r.root_run_id, r.id), r.ending,
    (SELECT json_group_array(json_array(
        j.id, j.idx, j.state, j.reason, j.priority, j.attempt, j.failures, j.lost, j.worker,
        j.partition, j.progress, j.error, j.exit_code, j.log_bytes, j.ready_ms,
        json(iif(j.delayed, 'true', 'false')), j.started_ms, j.finished_ms))
     FROM jobs AS j WHERE j.id BETWEEN r.first_job_id AND r.first_job_id + r.job_count - 1)))
FROM json_each(?) AS wanted
JOIN runs AS r ON r.id = wanted.value
LEFT JOIN clients AS c ON c.client_id = r.client_id

-- name: save_jobs
-- Read, decided upon, and written in one transaction: the guard is there to fail loudly.
UPDATE jobs SET
    state = v.column2, reason = v.column3, priority = v.column4, attempt = v.column5,
    failures = v.column6, lost = v.column7, worker = v.column8, partition = v.column9,
    progress = v.column10, error = v.column11, exit_code = v.column12, log_bytes = v.column13,
    ready_ms = v.column14, delayed = v.column15, started_ms = v.column16,
    finished_ms = v.column17
FROM (VALUES /* rows */ (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)) AS v
WHERE jobs.id = v.column1

-- name: save_runs
UPDATE runs SET
    state = v.column2, reason = v.column3, priority = v.column4, allowed_failures = v.column5,
    started_ms = v.column6, finished_ms = v.column7, deadline_ms = v.column8,
    ending = v.column9
FROM (VALUES /* rows */ (?, ?, ?, ?, ?, ?, ?, ?, ?)) AS v
WHERE runs.id = v.column1

-- name: insert_outputs
INSERT INTO outputs (job_id, output) VALUES /* rows */ (?, ?)
ON CONFLICT (job_id) DO UPDATE SET output = excluded.output

-- name: outputs
SELECT job_id, output FROM outputs WHERE job_id IN (SELECT value FROM json_each(?))

-- name: output_sizes
SELECT job_id, length(CAST(output AS BLOB)) FROM outputs WHERE job_id IN (SELECT value FROM json_each(?))

-- name: inputs
SELECT id, input FROM runs WHERE id IN (SELECT value FROM json_each(?)) AND input IS NOT NULL

-- name: insert_attempts
INSERT INTO attempts (
    job_id, attempt, outcome, worker, partition, error, exit_code, log_bytes, started_ms,
    finished_ms
) VALUES /* rows */ (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING

-- name: add_waiting
UPDATE clients SET waiting = max(waiting + ?, 0) WHERE client_id = ?

-- name: waiting
SELECT sum(waiting) FROM clients

-- name: client_queue
SELECT waiting, max_queued FROM clients WHERE client_id = ?

-- name: author
-- An unnamed revision is shared by all who send the same: each of them is its author.
SELECT client_id FROM revisions WHERE id = ? AND revision IS NOT NULL

-- name: ending
SELECT ending IS NOT NULL FROM runs WHERE id = ?

-- name: family
SELECT runs FROM families WHERE root_run_id = ?

-- name: grow_family
INSERT INTO families (root_run_id, runs) VALUES (?, 1)
ON CONFLICT (root_run_id) DO UPDATE SET runs = runs + 1

-- name: definition
SELECT definition, revision FROM revisions WHERE id = ?

-- name: ended_attempts
-- The last attempt of each job that was not lost with its worker.
SELECT job_id, max(attempt) FROM attempts
WHERE job_id IN (SELECT value FROM json_each(?)) AND outcome <> 'lost' GROUP BY job_id

-- name: run_of_job
SELECT run_id FROM jobs WHERE id = ?

-- name: open_after
SELECT id FROM runs WHERE state IN ('READY', 'IN_PROGRESS') AND id > ? ORDER BY id LIMIT ?

-- name: next_timer
-- What the trigger must wake up for: a deadline of a run or a job, or a retry that is due then.
SELECT min(at_ms) FROM (
    SELECT min(deadline_ms) AS at_ms FROM runs
    WHERE deadline_ms IS NOT NULL AND state IN ('READY', 'IN_PROGRESS')
    UNION ALL
    SELECT min(ready_ms) FROM jobs WHERE delayed = 1
    UNION ALL
    SELECT min(deadline_ms) FROM children WHERE deadline_ms IS NOT NULL
)

-- name: timers_due
SELECT * FROM (
    SELECT id FROM runs
    WHERE deadline_ms <= ?1 AND deadline_ms IS NOT NULL AND state IN ('READY', 'IN_PROGRESS')
    ORDER BY deadline_ms LIMIT ?2
)
UNION
SELECT * FROM (
    SELECT run_id FROM jobs WHERE delayed = 1 AND ready_ms <= ?1 ORDER BY ready_ms LIMIT ?2
)
