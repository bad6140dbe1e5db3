-- name: confine
-- COPY may write here (exports); no SQL reaches any other file, also not a user's.
SET allowed_directories = [$directory]

-- name: close_off
SET enable_external_access = false;
-- What users see is UTC everywhere else as well.
SET TimeZone = 'UTC';
SET lock_configuration = true

-- name: tables
-- Wait and duration are null for what never began, so that aggregates pass it over by themselves.
CREATE TABLE IF NOT EXISTS facts (
    run_id BIGINT NOT NULL,
    job_id BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    pipeline VARCHAR NOT NULL,
    job VARCHAR NOT NULL,
    stage VARCHAR,
    kind VARCHAR NOT NULL,
    client VARCHAR NOT NULL,
    worker VARCHAR,
    "partition" BIGINT,
    speed VARCHAR,
    outcome VARCHAR NOT NULL,
    final BOOLEAN NOT NULL,
    expected DOUBLE,
    ready_ms BIGINT NOT NULL,
    started_ms BIGINT,
    finished_ms BIGINT NOT NULL,
    wait_seconds DOUBLE,
    duration_seconds DOUBLE,
    exit_code BIGINT,
    error VARCHAR
);
CREATE TABLE IF NOT EXISTS progress (
    topic VARCHAR NOT NULL,
    "partition" BIGINT NOT NULL,
    "offset" BIGINT NOT NULL,
    PRIMARY KEY (topic, "partition")
);
-- The epoch of the state that these facts belong to; no row: its first one.
CREATE TABLE IF NOT EXISTS life (epoch BIGINT NOT NULL)

-- name: epoch
SELECT coalesce(max(epoch), 1) FROM life

-- name: leave_epoch
DELETE FROM life

-- name: enter_epoch
INSERT INTO life VALUES ($epoch)

-- name: retries
SELECT DISTINCT job_id, attempt FROM facts WHERE attempt > 1

-- name: forget_lost
-- What ended in a life that the state does not know of: jobs that were submitted after its backup,
-- attempts at jobs that are open in it, and ends that its bus delivers, or brings about, again.
DELETE FROM facts
WHERE (job_id > $last_job AND job_id <= $last_id)
    OR (worker IS NULL AND started_ms IS NULL AND (job_id, attempt) IN (
        SELECT (unnest($skipped_jobs::BIGINT[]), unnest($skipped_attempts::BIGINT[]))
    ))
    OR (job_id, attempt) IN (
        SELECT (unnest($beyond_jobs::BIGINT[]), unnest($beyond_attempts::BIGINT[]))
    )
    OR ((worker IS NOT NULL OR started_ms IS NOT NULL) AND (job_id, attempt) IN (
        SELECT (unnest($ended_jobs::BIGINT[]), unnest($ended_attempts::BIGINT[]))
    ))
    OR ((job_id, attempt) NOT IN (
            SELECT (unnest($counted_jobs::BIGINT[]), unnest($counted_attempts::BIGINT[]))
        ) AND rowid IN (
            SELECT f.rowid FROM facts AS f
            JOIN (
                SELECT unnest($open_jobs::BIGINT[]) AS open_job,
                       unnest($open_attempts::BIGINT[]) AS number
            ) ON f.job_id = open_job AND f.attempt >= number
        ))

-- name: macros
-- `counts`: this is the fact by which its job counts. A job has several ends when it was retried by
-- hand (a job that was never started keeps its attempt number then, so the later one holds), or
-- when it was cancelled while an attempt was on its way to a worker. All others have one, and are
-- not looked at twice. An end that names a job with another run is another job's.
CREATE OR REPLACE MACRO recent(since_ms) AS TABLE
WITH seen AS (
    SELECT *, rowid AS id FROM facts WHERE finished_ms > since_ms
), again AS (
    SELECT id, row_number() OVER (
        PARTITION BY run_id, job_id ORDER BY attempt DESC, id DESC
    ) AS nth
    FROM seen
    WHERE final AND job_id IN (
        SELECT job_id FROM seen WHERE final AND (attempt > 1 OR worker IS NULL)
    )
)
SELECT
    *,
    final AND NOT EXISTS (SELECT 1 FROM again WHERE again.id = seen.id AND nth > 1) AS counts,
    outcome IN ('failed', 'timed_out') AS failed
FROM seen;

CREATE OR REPLACE MACRO spread(seconds) AS struct_pack(
    mean := avg(seconds),
    p50 := quantile_cont(seconds, [0.5, 0.95, 0.99])[1],
    p95 := quantile_cont(seconds, [0.5, 0.95, 0.99])[2],
    p99 := quantile_cont(seconds, [0.5, 0.95, 0.99])[3],
    "max" := max(seconds)
);

CREATE OR REPLACE MACRO rfc3339(at_ms) AS
    strftime(make_timestamp_ms(at_ms), '%Y-%m-%dT%H:%M:%S.%gZ');

-- The attempts at one job of one pipeline that began and ended.
CREATE OR REPLACE MACRO tries(of_pipeline, of_job, since_ms) AS TABLE
SELECT * FROM facts
WHERE pipeline = of_pipeline AND job = of_job AND finished_ms > since_ms
    AND duration_seconds IS NOT NULL

-- name: append
-- One parameter for the whole batch: a statement a row would cost about 1,000 us a row. A list for
-- each column rather than an object for each row: the names are half of the text to parse. (Taking
-- the struct apart inside the subquery would parse the text once for each column.)
INSERT INTO facts BY NAME
SELECT
    unnest(c."run_id") AS "run_id", unnest(c."job_id") AS "job_id",
    unnest(c."attempt") AS "attempt", unnest(c."pipeline") AS "pipeline",
    unnest(c."job") AS "job", unnest(c."stage") AS "stage", unnest(c."kind") AS "kind",
    unnest(c."client") AS "client", unnest(c."worker") AS "worker",
    unnest(c."partition") AS "partition", unnest(c."speed") AS "speed",
    unnest(c."outcome") AS "outcome", unnest(c."final") AS "final",
    unnest(c."expected") AS "expected", unnest(c."ready_ms") AS "ready_ms",
    unnest(c."started_ms") AS "started_ms", unnest(c."finished_ms") AS "finished_ms",
    unnest(c."wait_seconds") AS "wait_seconds",
    unnest(c."duration_seconds") AS "duration_seconds", unnest(c."exit_code") AS "exit_code",
    unnest(c."error") AS "error"
FROM (
    SELECT from_json(
        $facts,
        '{"run_id": ["BIGINT"], "job_id": ["BIGINT"], "attempt": ["BIGINT"],
          "pipeline": ["VARCHAR"], "job": ["VARCHAR"], "stage": ["VARCHAR"], "kind": ["VARCHAR"],
          "client": ["VARCHAR"], "worker": ["VARCHAR"], "partition": ["BIGINT"],
          "speed": ["VARCHAR"], "outcome": ["VARCHAR"], "final": ["BOOLEAN"],
          "expected": ["DOUBLE"], "ready_ms": ["BIGINT"], "started_ms": ["BIGINT"],
          "finished_ms": ["BIGINT"], "wait_seconds": ["DOUBLE"], "duration_seconds": ["DOUBLE"],
          "exit_code": ["BIGINT"], "error": ["VARCHAR"]}'
    ) AS c
)

-- name: withdraw
-- Ends of attempts whose jobs had been cancelled before: the state refused them.
DELETE FROM facts
WHERE (worker IS NOT NULL OR started_ms IS NOT NULL) AND (run_id, job_id, attempt) IN (
    SELECT (unnest($runs::BIGINT[]), unnest($jobs::BIGINT[]), unnest($attempts::BIGINT[]))
)

-- name: counted
SELECT run_id, job_id, attempt, pipeline, worker IS NULL AND started_ms IS NULL FROM facts
WHERE job_id IN (SELECT unnest($jobs::BIGINT[]))

-- name: skipped
-- The jobs ended without an attempt.
SELECT run_id, job_id, attempt FROM facts
WHERE worker IS NULL AND started_ms IS NULL ORDER BY finished_ms DESC LIMIT $limit

-- name: load
INSERT INTO facts BY NAME SELECT * FROM read_parquet($path)

-- name: reach
-- In the transaction of the facts: after any crash, what is counted and what is skipped agree.
INSERT INTO progress VALUES ($topic, $partition, $offset)
ON CONFLICT DO UPDATE SET "offset" = excluded."offset"

-- name: reached
SELECT "partition", "offset" FROM progress WHERE topic = $topic

-- name: forget_reached
DELETE FROM progress

-- name: summary
SELECT
    $window_ms / 1000 AS "window",
    count(DISTINCT run_id) FILTER (WHERE counts) AS runs,
    count(*) FILTER (WHERE counts) AS jobs,
    count(*) FILTER (WHERE counts AND outcome = 'done') AS done,
    count(*) FILTER (WHERE counts AND outcome NOT IN ('done', 'cancelled')) AS error,
    count(*) FILTER (WHERE counts AND outcome = 'cancelled') AS cancelled,
    count(*) FILTER (WHERE NOT final) AS retries,
    count(*) FILTER (WHERE outcome = 'lost') AS lost,
    jobs / "window" AS throughput,
    -- What began before the window kept its slot busy inside only from the window's start on.
    -- (`least` skips nulls: what never began would seem to have been busy since then.)
    coalesce(
        sum(least(duration_seconds, (finished_ms - $now_ms + $window_ms) / 1000))
            FILTER (WHERE duration_seconds IS NOT NULL AND worker IS NOT NULL),
        0
    ) / "window" AS busy_slots,
    spread(CASE WHEN counts THEN wait_seconds END) AS wait,
    spread(CASE WHEN counts THEN duration_seconds END) AS duration
FROM recent($now_ms - $window_ms)

-- name: classes
SELECT
    speed AS "class",
    count(*) AS jobs,
    spread(wait_seconds) AS wait,
    spread(duration_seconds) AS duration
FROM recent($now_ms - $window_ms)
WHERE counts AND speed IS NOT NULL
GROUP BY speed
ORDER BY speed

-- name: pipelines
SELECT
    pipeline,
    count(DISTINCT run_id) FILTER (WHERE counts) AS runs,
    count(*) FILTER (WHERE counts) AS jobs,
    count(*) FILTER (WHERE counts AND outcome = 'done') AS done,
    count(*) FILTER (WHERE counts AND outcome NOT IN ('done', 'cancelled')) AS error,
    count(*) FILTER (WHERE counts AND outcome = 'cancelled') AS cancelled,
    count(*) FILTER (WHERE NOT final) AS retries,
    spread(CASE WHEN counts THEN wait_seconds END) AS wait,
    spread(CASE WHEN counts THEN duration_seconds END) AS duration
FROM recent($now_ms - $window_ms)
GROUP BY pipeline
ORDER BY jobs DESC, pipeline
LIMIT $limit

-- name: slow_tasks
-- The earlier window and the trend are computed for the rows shown only.
WITH seen AS (
    SELECT * FROM facts
    WHERE finished_ms > $now_ms - $window_ms AND duration_seconds IS NOT NULL
), totals AS (
    SELECT
        pipeline,
        job,
        max_by(kind, finished_ms) AS kind,
        max_by(speed, finished_ms) AS "class",
        count(*) AS n,
        count(*) FILTER (WHERE outcome IN ('failed', 'timed_out')) AS errors,
        spread(duration_seconds) AS took,
        coalesce(sum(duration_seconds) FILTER (WHERE worker IS NOT NULL), 0) AS slot_seconds
    FROM seen
    GROUP BY pipeline, job
), shown AS (
    SELECT *, coalesce(slot_seconds / nullif(sum(slot_seconds) OVER (), 0), 0) AS share
    FROM totals
    ORDER BY slot_seconds DESC, pipeline, job
    LIMIT $limit
), before AS (
    SELECT pipeline, job, quantile_cont(duration_seconds, 0.95) AS p95
    FROM facts SEMI JOIN shown USING (pipeline, job)
    WHERE finished_ms > $now_ms - 2 * $window_ms AND finished_ms <= $now_ms - $window_ms
        AND duration_seconds IS NOT NULL
    GROUP BY pipeline, job
), cells AS (
    SELECT
        pipeline,
        job,
        -- What a worker's fast clock dates into the future belongs to the last cell.
        least((finished_ms - ($now_ms - $window_ms) - 1) * $buckets // $window_ms, $buckets - 1)
            AS cell,
        quantile_cont(duration_seconds, 0.95) AS p95
    FROM seen SEMI JOIN shown USING (pipeline, job)
    GROUP BY pipeline, job, cell
), trends AS (
    SELECT pipeline, job, map(list(cell), list(p95)) AS cells FROM cells GROUP BY pipeline, job
)
SELECT
    pipeline, job, kind, "class", n, errors, errors / n AS error_rate,
    took.mean, took.p50, took.p95, took.p99, took."max",
    slot_seconds, share,
    before.p95 AS p95_before,
    took.p95 - before.p95 AS p95_delta,
    [cells[cell] FOR cell IN range($buckets)] AS trend
FROM shown JOIN trends USING (pipeline, job) LEFT JOIN before USING (pipeline, job)
ORDER BY slot_seconds DESC, pipeline, job

-- name: task
SELECT
    quantile_cont(duration_seconds, 0.01) AS low,
    spread(wait_seconds) AS wait,
    spread(duration_seconds) AS duration
FROM tries($pipeline, $job, $now_ms - $window_ms)

-- name: histogram
-- How many are at or above how many of the bounds.
SELECT
    len(list_filter($bounds::DOUBLE[], lambda bound: bound <= duration_seconds)) AS above,
    count(*) AS n
FROM tries($pipeline, $job, $now_ms - $window_ms)
GROUP BY above

-- name: slowest
SELECT
    job_id, run_id, attempt, client, coalesce(worker, '') AS worker, outcome,
    coalesce(wait_seconds, 0) AS wait_seconds, duration_seconds,
    rfc3339(finished_ms) AS finished_at
FROM tries($pipeline, $job, $now_ms - $window_ms)
ORDER BY duration_seconds DESC, finished_ms DESC, job_id DESC, attempt DESC
LIMIT $limit

-- name: worker
SELECT
    job_id, run_id, attempt, pipeline, job, outcome,
    rfc3339(started_ms) AS started_at, rfc3339(finished_ms) AS finished_at
FROM facts
WHERE worker = $worker AND finished_ms > $now_ms - $window_ms AND started_ms IS NOT NULL
ORDER BY finished_ms DESC, job_id DESC, attempt DESC
LIMIT $limit

-- name: partitions
SELECT
    "partition",
    max_by(speed, finished_ms) AS "class",
    count(*) AS attempts,
    count(*) FILTER (WHERE counts) AS jobs,
    spread(wait_seconds) AS wait,
    spread(duration_seconds) AS duration,
    coalesce(sum(duration_seconds), 0) AS slot_seconds
FROM recent($now_ms - $window_ms)
WHERE "partition" IS NOT NULL
GROUP BY "partition"
ORDER BY "partition"
LIMIT $limit

-- name: workers
SELECT
    worker,
    count(*) AS attempts,
    count(*) FILTER (WHERE counts) AS jobs,
    count(*) FILTER (WHERE failed) AS errors,
    count(*) FILTER (WHERE outcome = 'lost') AS lost,
    spread(duration_seconds) AS duration,
    coalesce(sum(duration_seconds), 0) AS slot_seconds,
    jobs / ($window_ms / 1000) AS throughput
FROM recent($now_ms - $window_ms)
WHERE worker IS NOT NULL
GROUP BY worker
ORDER BY slot_seconds DESC, worker
LIMIT $limit

-- name: durations
-- Only what succeeded teaches how long a job takes.
SELECT
    pipeline,
    job,
    list_reverse(max_by(duration_seconds, finished_ms, $each)) AS durations
FROM facts
WHERE outcome = 'done' AND duration_seconds IS NOT NULL
GROUP BY pipeline, job
ORDER BY max(finished_ms) DESC, pipeline, job
LIMIT $limit

-- name: prune
DELETE FROM facts WHERE finished_ms < $before_ms

-- name: export
COPY (
    SELECT * FROM facts
    WHERE $since_ms::BIGINT IS NULL OR ready_ms > $since_ms::BIGINT
    ORDER BY finished_ms, job_id, attempt
) TO $path (FORMAT $format)

-- name: exported_jobs
SELECT DISTINCT job_id FROM read_parquet($path)
WHERE final AND job_id IN (SELECT unnest($jobs::BIGINT[]))

-- name: read_only
-- The type of a statement does not tell: a SELECT may hold a `WITH x AS (DELETE …)`.
BEGIN TRANSACTION READ ONLY

-- name: touch
-- A transaction sees everything as it was when it first looked.
SELECT 1 FROM facts LIMIT 1

-- name: copy_all
-- For users' queries, which have a process of their own.
COPY (SELECT * FROM facts) TO $path (FORMAT parquet)

-- name: copy_pending
-- What was appended since; the same columns as `append`.
COPY (
    SELECT unnest(from_json($facts, '[{"run_id": "BIGINT", "job_id": "BIGINT", "attempt": "BIGINT",
        "pipeline": "VARCHAR", "job": "VARCHAR", "stage": "VARCHAR", "kind": "VARCHAR",
        "client": "VARCHAR", "worker": "VARCHAR", "partition": "BIGINT", "speed": "VARCHAR",
        "outcome": "VARCHAR", "final": "BOOLEAN", "expected": "DOUBLE", "ready_ms": "BIGINT",
        "started_ms": "BIGINT", "finished_ms": "BIGINT", "wait_seconds": "DOUBLE",
        "duration_seconds": "DOUBLE", "exit_code": "BIGINT", "error": "VARCHAR"}]'),
        recursive := true)
) TO $path (FORMAT parquet)

-- name: copied_facts
CREATE VIEW facts AS SELECT * FROM read_parquet(getvariable('parts'))
