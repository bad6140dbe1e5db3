-- name: get
SELECT p.name, r.revision, p.client_id, p.created_ms, p.updated_ms, r.definition, r.id, r.digest
FROM pipelines AS p JOIN revisions AS r ON r.id = p.revision_id WHERE p.name = ?

-- name: page
SELECT p.name, r.revision, p.client_id, p.created_ms, p.updated_ms, r.definition, r.id, r.digest
FROM pipelines AS p JOIN revisions AS r ON r.id = p.revision_id
WHERE p.name > ?1 AND (?2 IS NULL OR p.client_id = ?2) ORDER BY p.name LIMIT ?3

-- name: insert_revision
-- Numbers go on after a pipeline was deleted: old runs keep showing which revision they ran.
INSERT INTO revisions (pipeline, revision, definition, digest, client_id, created_ms)
VALUES (?1, 1 + coalesce(
    (SELECT max(revision) FROM revisions WHERE pipeline = ?1 AND revision IS NOT NULL), 0),
    ?2, ?3, ?4, ?5)

-- name: insert_pipeline
INSERT INTO pipelines (name, revision_id, client_id, created_ms, updated_ms) VALUES (?, ?, ?, ?, ?)

-- name: point_pipeline
UPDATE pipelines SET revision_id = ?, updated_ms = ? WHERE name = ?

-- name: delete_pipeline
DELETE FROM pipelines WHERE name = ?

-- name: delete_planned_of_pipeline
DELETE FROM scheduled_runs
WHERE schedule_id IN (SELECT id FROM schedules WHERE pipeline = ?)

-- name: delete_schedules_of_pipeline
DELETE FROM schedules WHERE pipeline = ?

-- name: delete_hooks_of_pipeline
DELETE FROM hooks WHERE pipeline = ?

-- name: find_unnamed
SELECT id FROM revisions WHERE digest = ? AND revision IS NULL

-- name: insert_unnamed
INSERT INTO revisions (pipeline, revision, definition, digest, client_id, created_ms)
VALUES (?, NULL, ?, ?, ?, ?)

-- name: owner
SELECT client_id, revision_id FROM pipelines WHERE name = ?

-- name: owners
SELECT name, client_id FROM pipelines WHERE name IN (SELECT value FROM json_each(?))

-- name: next_hook_id
UPDATE counters SET last = last + 1 WHERE name = 'hooks' RETURNING last

-- name: insert_hook
INSERT INTO hooks (id, pipeline, client_id, token_digest, created_ms) VALUES (?, ?, ?, ?, ?)

-- name: hooks
SELECT id, pipeline, client_id, created_ms FROM hooks
WHERE pipeline = ? AND id > ? ORDER BY id LIMIT ?

-- name: count_hooks
SELECT count(*) FROM hooks WHERE pipeline = ?

-- name: delete_hook
DELETE FROM hooks WHERE pipeline = ? AND id = ?

-- name: hook_by_digest
SELECT pipeline, client_id FROM hooks WHERE token_digest = ?

-- name: recall
SELECT digest, run_id FROM idempotency WHERE client_id = ? AND key = ? AND created_ms > ?

-- name: remember
-- One that has expired and was not removed yet gives way.
INSERT INTO idempotency (client_id, key, digest, run_id, created_ms) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (client_id, key) DO UPDATE SET
    digest = excluded.digest, run_id = excluded.run_id, created_ms = excluded.created_ms

-- name: forget
DELETE FROM idempotency WHERE (client_id, key) IN (
    SELECT client_id, key FROM idempotency WHERE created_ms <= ? LIMIT ?)
