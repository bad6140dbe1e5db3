-- name: insert
INSERT INTO notices (run_id, entry, ended_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING

-- name: after
SELECT run_id, entry, ended_ms FROM notices WHERE (run_id, entry, ended_ms) > (?, ?, ?)
ORDER BY run_id, entry, ended_ms LIMIT ?

-- name: delete
DELETE FROM notices WHERE run_id = ? AND entry = ? AND ended_ms = ?
