-- name: of_pipeline
SELECT id, spec FROM schedules WHERE pipeline = ? ORDER BY id

-- name: next_id
UPDATE counters SET last = last + 1 WHERE name = 'schedules' RETURNING last

-- name: insert
INSERT INTO schedules (id, pipeline, spec, planned_until_ms, created_ms) VALUES (?, ?, ?, ?, ?)

-- name: update
UPDATE schedules SET spec = ?, planned_until_ms = min(planned_until_ms, ?) WHERE id = ?

-- name: delete
DELETE FROM schedules WHERE id = ?

-- name: set_paused
UPDATE schedules SET paused = ?, planned_until_ms = ? WHERE id = ?

-- name: forget_planned
-- Those whose time has come stay, and those that were asked for: the planner would not plan them again.
DELETE FROM scheduled_runs WHERE schedule_id = ? AND backfill = 0 AND nominal_ms > ?

-- name: forget_all
DELETE FROM scheduled_runs WHERE schedule_id = ?

-- name: due_count
-- Whose time has come, or that were asked for: who drops them must say so.
SELECT count(*) FROM scheduled_runs WHERE schedule_id = ? AND (due_ms <= ? OR backfill)

-- name: of_client
SELECT s.id FROM schedules AS s JOIN pipelines AS p ON p.name = s.pipeline
WHERE p.client_id = ? ORDER BY s.id

-- name: plan_again_from
-- From the first time on that has not been seen to.
UPDATE schedules SET planned_until_ms = min(planned_until_ms, coalesce(
    (SELECT min(nominal_ms) - 1 FROM scheduled_runs AS r
     WHERE r.schedule_id = schedules.id AND r.waiting = 0 AND r.backfill = 0),
    planned_until_ms))
WHERE id = ?

-- name: unplan
DELETE FROM scheduled_runs WHERE schedule_id = ? AND waiting = 0 AND backfill = 0

-- name: wait_all
UPDATE scheduled_runs SET waiting = 1 WHERE schedule_id = ? AND waiting = 0

-- name: planned_until
UPDATE schedules SET planned_until_ms = ? WHERE id = ?

-- name: get
SELECT s.id, s.pipeline, s.spec, s.paused, s.planned_until_ms, p.revision_id, p.client_id,
       c.role, c.enabled,
       (SELECT min(due_ms) FROM scheduled_runs AS r WHERE r.schedule_id = s.id),
       (SELECT min(nominal_ms) FROM scheduled_runs AS r WHERE r.schedule_id = s.id)
FROM schedules AS s JOIN pipelines AS p ON p.name = s.pipeline
LEFT JOIN clients AS c ON c.client_id = p.client_id WHERE s.id = ?

-- name: list
SELECT s.id, s.pipeline, s.spec, s.paused, s.planned_until_ms, p.revision_id, p.client_id,
       c.role, c.enabled,
       (SELECT min(due_ms) FROM scheduled_runs AS r WHERE r.schedule_id = s.id),
       (SELECT min(nominal_ms) FROM scheduled_runs AS r WHERE r.schedule_id = s.id)
FROM schedules AS s JOIN pipelines AS p ON p.name = s.pipeline
LEFT JOIN clients AS c ON c.client_id = p.client_id
WHERE s.id > ?1 AND (?2 IS NULL OR s.pipeline = ?2) AND (?4 IS NULL OR p.client_id = ?4)
ORDER BY s.id LIMIT ?3

-- name: plan
INSERT OR IGNORE INTO scheduled_runs (schedule_id, nominal_ms, due_ms, backfill)
SELECT column1, column2, column3, column4 FROM (VALUES /* rows */ (?, ?, ?, ?)) AS v
WHERE NOT EXISTS (
    SELECT 1 FROM runs WHERE schedule_id = column1 AND scheduled_for_ms = column2
)

-- name: count_missing
SELECT count(*) FROM json_each(?2) AS t
WHERE NOT EXISTS (SELECT 1 FROM scheduled_runs WHERE schedule_id = ?1 AND nominal_ms = t.value)
    AND NOT EXISTS (SELECT 1 FROM runs WHERE schedule_id = ?1 AND scheduled_for_ms = t.value)

-- name: next_due
SELECT min(due_ms) FROM scheduled_runs WHERE waiting = 0 AND due_ms > ?

-- name: to_plan
-- Whose plan ends first comes first. A schedule that was planned a bit comes again.
SELECT s.id, s.pipeline, s.spec, s.paused, s.planned_until_ms, p.revision_id, p.client_id,
       c.role, c.enabled, NULL, NULL
FROM schedules AS s JOIN pipelines AS p ON p.name = s.pipeline
LEFT JOIN clients AS c ON c.client_id = p.client_id
WHERE s.paused = 0 AND s.planned_until_ms < ?1 AND (s.planned_until_ms, s.id) > (?2, ?3)
ORDER BY s.planned_until_ms, s.id LIMIT ?4

-- name: unplan_beyond
DELETE FROM scheduled_runs WHERE backfill = 0 AND nominal_ms > ?1 AND schedule_id IN (
    SELECT id FROM schedules WHERE planned_until_ms > ?2 AND paused = 0)

-- name: plan_from
UPDATE schedules SET planned_until_ms = ?1 WHERE planned_until_ms > ?2 AND paused = 0

-- name: due_schedules
-- The planner of queries would read all rows, by schedule: the distinct ones come in order then.
SELECT DISTINCT schedule_id FROM scheduled_runs INDEXED BY scheduled_runs_due
WHERE due_ms <= ? AND waiting = 0

-- name: waiting_schedules
SELECT DISTINCT schedule_id FROM scheduled_runs WHERE waiting = 1

-- name: due
SELECT nominal_ms, due_ms, waiting, backfill FROM scheduled_runs
WHERE schedule_id = ?1 AND (due_ms <= ?2 OR waiting) ORDER BY nominal_ms LIMIT ?3

-- name: wait
UPDATE scheduled_runs SET waiting = 1
WHERE schedule_id = ? AND nominal_ms IN (SELECT value FROM json_each(?)) AND waiting = 0

-- name: remove
DELETE FROM scheduled_runs
WHERE schedule_id = ? AND nominal_ms IN (SELECT value FROM json_each(?))

-- name: active_runs
SELECT r.id, r.scheduled_for_ms IS NULL, b.run_id IS NOT NULL
FROM runs AS r LEFT JOIN backfill_runs AS b ON b.run_id = r.id
WHERE r.schedule_id = ? AND r.state IN ('READY', 'IN_PROGRESS') ORDER BY r.id

-- name: backfill_run
INSERT INTO backfill_runs (run_id) VALUES (?)

-- name: upcoming
SELECT r.due_ms, r.schedule_id, r.nominal_ms, s.pipeline, r.waiting, r.backfill, p.client_id,
       p.revision_id
FROM scheduled_runs AS r JOIN schedules AS s ON s.id = r.schedule_id
JOIN pipelines AS p ON p.name = s.pipeline
WHERE r.due_ms <= ?1 AND (r.due_ms, r.schedule_id, r.nominal_ms) > (?2, ?3, ?4)
    AND (?6 IS NULL OR p.client_id = ?6)
ORDER BY r.due_ms, r.schedule_id, r.nominal_ms LIMIT ?5

-- name: plan_sums
-- Of these schedules: how many runs, and the shortest time between two, in the order of the key.
SELECT schedule_id, count(*), min(distance_ms) FROM (
    SELECT schedule_id, CASE WHEN backfill = 0 THEN nominal_ms - lag(nominal_ms)
        OVER (PARTITION BY schedule_id, backfill ORDER BY nominal_ms) END AS distance_ms
    FROM scheduled_runs WHERE schedule_id IN (SELECT value FROM json_each(?))
) GROUP BY schedule_id

-- name: plan_next
SELECT r.schedule_id, r.nominal_ms, r.due_ms, r.waiting, r.backfill
FROM json_each(?1) AS s JOIN scheduled_runs AS r ON r.schedule_id = s.value AND r.nominal_ms IN (
    SELECT nominal_ms FROM scheduled_runs WHERE schedule_id = s.value ORDER BY nominal_ms LIMIT ?2)
ORDER BY r.schedule_id, r.due_ms, r.nominal_ms

-- name: plan_stretches
-- What is overdue is due now.
SELECT schedule_id, min(max(due_ms, ?2)), count(*) FROM scheduled_runs
WHERE schedule_id IN (SELECT value FROM json_each(?1)) AND due_ms < ?3
GROUP BY schedule_id, max(due_ms, ?2) / ?4 ORDER BY schedule_id, 2

-- name: due_times
-- Two arrays instead of a row each: there may be a hundred thousand.
SELECT json_group_array(schedule_id), json_group_array(due_ms) FROM (
    SELECT schedule_id, due_ms FROM scheduled_runs WHERE due_ms < ? ORDER BY due_ms LIMIT ?
)

-- name: planning
-- Which pipeline a schedule is of, and whose.
SELECT s.id, s.pipeline, p.revision_id, p.client_id
FROM schedules AS s JOIN pipelines AS p ON p.name = s.pipeline
WHERE s.id IN (SELECT value FROM json_each(?))
