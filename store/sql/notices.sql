-- name: insert
INSERT INTO notices (run_id, entry, ended_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING

-- name: after
-- The next ones, but for runs of some clients (JSON).
SELECT n.run_id, n.entry, n.ended_ms
FROM notices AS n JOIN runs AS r ON r.id = n.run_id
WHERE (n.run_id, n.entry, n.ended_ms) > (?, ?, ?)
    AND r.client_id NOT IN (SELECT value FROM json_each(?))
ORDER BY n.run_id, n.entry, n.ended_ms LIMIT ?

-- name: delete
DELETE FROM notices WHERE run_id = ? AND entry = ? AND ended_ms = ?
