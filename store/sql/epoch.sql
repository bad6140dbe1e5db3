-- name: position
SELECT epoch, commits FROM data_epoch

-- name: note
UPDATE data_epoch SET commits = commits + 1 RETURNING epoch, commits

-- name: life
SELECT epoch, began_ms, last_run_id, last_job_id, jobs_to_publish FROM data_epoch

-- name: last_id
SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name IN ('runs', 'jobs')

-- name: last_run_id
SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'runs'

-- name: begin
UPDATE data_epoch SET
    epoch = :epoch,
    began_ms = :began_ms,
    last_run_id = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'runs'), 0),
    last_job_id = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'jobs'), 0),
    jobs_to_publish = :jobs_to_publish

-- name: forget_sequences
DELETE FROM sqlite_sequence WHERE name IN ('runs', 'jobs')

-- name: begin_sequences
INSERT INTO sqlite_sequence (name, seq) VALUES ('runs', :last_id), ('jobs', :last_id)

-- name: move_counters
-- Of schedules and hooks: fewer, so a part of the range is enough.
UPDATE counters SET last = max(last, :last_id / 1000)

-- name: published
UPDATE data_epoch SET jobs_to_publish = 0

-- name: open_jobs
SELECT j.id, j.attempt, j.state FROM runs r JOIN jobs j
    ON j.id >= r.first_job_id AND j.id < r.first_job_id + r.job_count
WHERE r.state IN ('READY', 'IN_PROGRESS') AND j.state IN ('READY', 'IN_PROGRESS')

-- name: jobs_ended
SELECT id FROM jobs WHERE state NOT IN ('READY', 'IN_PROGRESS') AND finished_ms > ?

-- name: attempts
SELECT id, attempt, state = 'CANCELLED' AND started_ms IS NULL FROM jobs
WHERE id IN (SELECT value FROM json_each(?))

-- name: beyond
SELECT j.id, e.value ->> 1 FROM json_each(?) AS e JOIN jobs AS j ON j.id = e.value ->> 0
WHERE e.value ->> 1 > j.attempt

-- name: begun
SELECT j.id, j.attempt FROM json_each(?) AS e JOIN jobs AS j ON j.id = e.value ->> 0
WHERE e.value ->> 1 = j.attempt AND j.started_ms IS NOT NULL

-- name: of_runs
SELECT j.id, e.value ->> 2 FROM json_each(?) AS e JOIN jobs AS j ON j.id = e.value ->> 1
JOIN runs AS r ON r.id = j.run_id
WHERE r.id = e.value ->> 0 AND r.pipeline = e.value ->> 3 AND r.client_id = e.value ->> 4

-- name: attempts_over
SELECT job_id, attempt FROM attempts WHERE job_id IN (SELECT value FROM json_each(?))
