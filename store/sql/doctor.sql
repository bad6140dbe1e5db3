-- name: integrity
PRAGMA integrity_check(20)

-- name: foreign_keys
SELECT "table" || ' row ' || coalesce(rowid, '?') || ' names a missing row of ' || parent
FROM pragma_foreign_key_check LIMIT 20

-- name: waiting
-- Open runs first, then their jobs by id, as CROSS JOIN and + say: an index that SQLite makes for the
-- state alone finds all of 200,000 jobs for each run.
WITH counted AS (
    SELECT r.client_id, count(*) AS jobs
    FROM runs AS r
    CROSS JOIN jobs AS j ON j.id BETWEEN r.first_job_id AND r.first_job_id + r.job_count - 1
    WHERE r.state IN ('READY', 'IN_PROGRESS') AND +j.state = 'READY'
    GROUP BY r.client_id
)
SELECT c.client_id || ' is said to have ' || c.waiting || ' waiting jobs, and has '
       || coalesce(n.jobs, 0)
FROM clients AS c LEFT JOIN counted AS n ON n.client_id = c.client_id
WHERE c.waiting <> coalesce(n.jobs, 0) LIMIT 20

-- name: ended_with_open_jobs
SELECT 'run ' || r.id || ' is ' || r.state || ', but its job ' || j.id || ' is ' || j.state
FROM runs AS r JOIN jobs AS j ON j.id BETWEEN r.first_job_id AND r.first_job_id + r.job_count - 1
WHERE r.state IN ('DONE', 'CANCELLED', 'ERROR') AND j.state IN ('READY', 'IN_PROGRESS') LIMIT 20

-- name: open_without_open_jobs
SELECT 'run ' || r.id || ' is ' || r.state || ', but all its jobs have ended'
FROM runs AS r WHERE r.state IN ('READY', 'IN_PROGRESS') AND NOT EXISTS (
    SELECT 1 FROM jobs AS j
    WHERE j.id BETWEEN r.first_job_id AND r.first_job_id + r.job_count - 1
      AND j.state IN ('READY', 'IN_PROGRESS')) LIMIT 20

-- name: job_ranges
SELECT 'run ' || r.id || ' should have ' || r.job_count || ' jobs from ' || r.first_job_id
       || ' on, and has ' || count(j.id)
FROM runs AS r
LEFT JOIN jobs AS j ON j.id BETWEEN r.first_job_id AND r.first_job_id + r.job_count - 1
    AND j.run_id = r.id AND j.idx = j.id - r.first_job_id
GROUP BY r.id HAVING count(j.id) <> r.job_count LIMIT 20

-- name: jobs_without_run
SELECT 'job ' || id || ' belongs to run ' || run_id || ', which does not exist'
FROM jobs WHERE run_id NOT IN (SELECT id FROM runs) LIMIT 20

-- name: outputs_without_job
SELECT 'there is an output of job ' || job_id || ', which does not exist'
FROM outputs WHERE job_id NOT IN (SELECT id FROM jobs) LIMIT 20

-- name: attempts_without_job
SELECT 'there is an attempt of job ' || job_id || ', which does not exist'
FROM attempts WHERE job_id NOT IN (SELECT id FROM jobs) LIMIT 20

-- name: unknown_revisions
SELECT 'run ' || id || ' runs revision id ' || revision_id || ', which does not exist'
FROM runs WHERE revision_id NOT IN (SELECT id FROM revisions) LIMIT 20

-- name: log_overlaps
SELECT topic || ', partition ' || partition || ': the log has a hole or an overlap at offset '
       || first_offset
FROM (SELECT topic, partition, first_offset, lag(first_offset + count) OVER (
          PARTITION BY topic, partition ORDER BY first_offset) AS expected FROM bus_log)
WHERE expected <> first_offset LIMIT 20

-- name: log_ends
SELECT topic, partition, min(first_offset), max(first_offset + count)
FROM bus_log GROUP BY topic, partition

-- name: groups
SELECT name, topic, partition, progress FROM bus_groups
