-- name: insert
INSERT INTO notices (run_id, entry) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: after
SELECT run_id, entry FROM notices WHERE (run_id, entry) > (?, ?) ORDER BY run_id, entry LIMIT ?

-- name: delete
DELETE FROM notices WHERE run_id = ? AND entry = ?
