-- name: append
INSERT INTO bus_log (topic, partition, first_offset, count, body) VALUES (?, ?, ?, ?, ?)

-- name: batches
SELECT first_offset, count FROM bus_log WHERE topic = ? AND partition = ? ORDER BY first_offset

-- name: bodies
-- The batch that holds the offset starts at or before it.
SELECT first_offset, body FROM bus_log
WHERE topic = ?1 AND partition = ?2 AND first_offset >= coalesce(
    (SELECT max(first_offset) FROM bus_log
     WHERE topic = ?1 AND partition = ?2 AND first_offset <= ?3), 0)
ORDER BY first_offset LIMIT 4

-- name: drop
DELETE FROM bus_log WHERE topic = ? AND partition = ? AND first_offset < ?

-- name: save
INSERT INTO bus_groups (name, topic, partition, progress) VALUES (?, ?, ?, ?)
ON CONFLICT (name, topic, partition) DO UPDATE SET progress = excluded.progress

-- name: groups
SELECT name, topic, partition, progress FROM bus_groups

-- name: lanes
SELECT DISTINCT topic, partition FROM bus_log
