-- name: insert
INSERT INTO clients (
    client_id, role, priority, max_queued, max_running, enabled, secret_hash, created_ms
) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING

-- name: page
SELECT client_id, role, priority, max_queued, max_running, enabled, waiting, created_ms
FROM clients WHERE client_id > ? ORDER BY client_id LIMIT ?

-- name: get
SELECT client_id, role, priority, max_queued, max_running, enabled, waiting, created_ms
FROM clients WHERE client_id = ?

-- name: update
UPDATE clients SET role = ?, priority = ?, max_queued = ?, max_running = ?, enabled = ?
WHERE client_id = ?

-- name: rotate
UPDATE clients SET secret_hash = ? WHERE client_id = ?

-- name: delete
DELETE FROM clients WHERE client_id = ?

-- name: delete_hooks
DELETE FROM hooks WHERE client_id = ?

-- name: login
SELECT secret_hash, role, enabled FROM clients WHERE client_id = ?

-- name: standing
SELECT role, enabled FROM clients WHERE client_id = ?

-- name: limits
SELECT priority, max_running FROM clients WHERE client_id = ?

-- name: other_admins
-- Clients are few: hundreds, not millions.
SELECT count(*) FROM clients WHERE role = 'admin' AND enabled = 1 AND client_id <> ?

-- name: any_admin
SELECT count(*) FROM clients WHERE role = 'admin'

-- name: open_run
SELECT 1 FROM runs WHERE client_id = ? AND state IN ('READY', 'IN_PROGRESS') LIMIT 1

-- name: owned_pipelines
SELECT name FROM pipelines WHERE client_id = ? ORDER BY name LIMIT 3
