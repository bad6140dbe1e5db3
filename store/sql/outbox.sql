-- name: append
INSERT INTO outbox (id, body) VALUES (?, ?)

-- name: last
-- Also of rows that are deleted.
SELECT seq FROM sqlite_sequence WHERE name = 'outbox'

-- name: renumber
UPDATE outbox SET id = -(id + ?)

-- name: renumbered
UPDATE outbox SET id = -id WHERE id < 0

-- name: begin_at
INSERT INTO outbox (id, body) VALUES (?, x'')

-- name: after
SELECT id, body FROM outbox WHERE id > ? ORDER BY id LIMIT ?

-- name: drop
DELETE FROM outbox WHERE id <= ?

-- name: drop_one
DELETE FROM outbox WHERE id = ?
