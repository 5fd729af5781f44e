-- The statements that are always the same. Those that depend on a filter are built in finding.py.

-- name: end_of_session
-- Where a session's history ends: its row, its newest cursor, its chain.
SELECT n, last, head FROM sessions WHERE id = ?;

-- name: move_end
-- The end of a session after a group of appends, once for each session and commit.
UPDATE sessions SET last = ?, head = ? WHERE n = ?;

-- name: append_event
-- One event at the end of its session.
INSERT INTO events (session, seq, n, type, data, h) VALUES (?, ?, ?, ?, ?, ?);

-- name: newest_number
-- The commit-ordered number of the newest event of all.
SELECT coalesce(max(n), 0) FROM events;

-- name: put_session
-- A session is inserted with the beginning of its chain, which a later put leaves alone.
INSERT INTO sessions (id, created_at, epoch, head, doc) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at, doc = excluded.doc;

-- name: recall
-- The answer to an idempotency key that is still young enough.
SELECT fingerprint, answer FROM answers WHERE key = ? AND created_at >= ?;

-- name: forget
-- Make room for a new answer to a key whose old one has had its day.
DELETE FROM answers WHERE key = ? AND created_at < ?;

-- name: remember
-- The first answer to an idempotency key stays.
INSERT INTO answers (key, fingerprint, answer, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING;

-- name: prune_answers
-- Forget some of the oldest answers that nobody may ask for any more.
DELETE FROM answers
WHERE n IN (SELECT n FROM answers ORDER BY n LIMIT 500) AND created_at < ?;

-- name: events_after
-- The next events of a session after a cursor.
SELECT e.seq, e.type, e.data FROM events e
WHERE e.session = (SELECT n FROM sessions WHERE id = ?) AND e.seq > ? ORDER BY e.seq LIMIT ?;

-- name: events_after_of
-- The same, of some types only (a JSON array).
SELECT e.seq, e.type, e.data FROM events e
WHERE e.session = (SELECT n FROM sessions WHERE id = ?) AND e.seq > ?
  AND e.type IN (SELECT value FROM json_each(?))
ORDER BY e.seq LIMIT ?;

-- name: events_before
-- The newest events of a session before a cursor, newest first.
SELECT e.seq, e.type, e.data FROM events e
WHERE e.session = (SELECT n FROM sessions WHERE id = ?) AND e.seq < ? ORDER BY e.seq DESC LIMIT ?;

-- name: total_events
-- How many events were ever appended.
SELECT coalesce(sum(last), 0) FROM sessions;

-- name: histories
-- Every session with what its history should add up to.
SELECT n, id, last, epoch, head FROM sessions ORDER BY n;

-- name: chain_after
-- A stretch of one session's chain.
SELECT seq, data, h FROM events WHERE session = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT 500;

-- name: claimed_without_lease
-- Jobs that claim to be held by somebody who could never lose them.
SELECT id FROM jobs WHERE state = 'claimed' AND (lease_until IS NULL OR worker_id IS NULL) ORDER BY n;
