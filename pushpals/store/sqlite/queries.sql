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
SELECT e.seq, e.type, e.data FROM sessions s CROSS JOIN events e ON e.session = s.n
WHERE s.id = ? AND e.seq > max(?, s.first - 1) ORDER BY e.seq LIMIT ?;

-- name: events_after_of
-- The same, of some types only (a JSON array).
SELECT e.seq, e.type, e.data FROM sessions s CROSS JOIN events e ON e.session = s.n
WHERE s.id = ? AND e.seq > max(?, s.first - 1) AND e.type IN (SELECT value FROM json_each(?))
ORDER BY e.seq LIMIT ?;

-- name: events_before
-- The newest events of a session before a cursor, newest first.
SELECT e.seq, e.type, e.data FROM sessions s CROSS JOIN events e ON e.session = s.n
WHERE s.id = ? AND e.seq < ? AND e.seq >= s.first ORDER BY e.seq DESC LIMIT ?;

-- name: total_events
-- How many events were ever appended.
SELECT coalesce(sum(last), 0) FROM sessions;

-- name: histories
-- Every session with what its history should add up to.
SELECT n, id, first, last, epoch, head FROM sessions ORDER BY n;

-- name: chain_after
-- A stretch of one session's chain.
SELECT seq, data, h FROM events WHERE session = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT 500;

-- name: claimed_without_lease
-- Jobs that claim to be held by somebody who could never lose them.
SELECT id FROM jobs WHERE state = 'claimed' AND (lease_until IS NULL OR worker_id IS NULL) ORDER BY n;

-- name: span_of_session
-- A session's row and the ends of its history, as they are in the table.
SELECT n, last, first FROM sessions WHERE id = ?;

-- name: give_up
-- The history of a session begins here from now on.
UPDATE sessions SET first = ? WHERE n = ?;

-- name: bodies_before
-- Events that are given up now.
SELECT seq, n, type, data FROM events WHERE session = ? AND seq >= ? AND seq < ? ORDER BY seq;

-- name: erase_body
-- The body goes; place, type and link of the chain stay.
UPDATE events SET data = x'' WHERE session = ? AND seq = ?;

-- name: searched
-- The number of the newest event that the search knows.
SELECT n FROM searched;

-- name: now_searched
-- The search knows everything up to here.
UPDATE searched SET n = ?;

-- name: events_to_search
-- What came since, of the types that can be found (a JSON array).
SELECT n, session, type, data FROM events
WHERE n > ? AND n <= ? AND type IN (SELECT value FROM json_each(?)) AND data <> x'' ORDER BY n;

-- name: make_searchable
-- The words of one event.
INSERT INTO words (rowid, place, text) VALUES (?, ?, ?);

-- name: make_unsearchable
-- The index keeps no text, so what is to be forgotten must be said once more.
INSERT INTO words (words, rowid, place, text) VALUES ('delete', ?, ?, ?);

-- name: search
-- Events of a session by their words, newest first.
SELECT e.seq, e.type, e.data FROM words CROSS JOIN events e ON e.n = words.rowid
WHERE words MATCH ? AND e.session = ? AND e.seq < ? AND e.data <> x'' ORDER BY words.rowid DESC LIMIT ?;

-- name: search_of
-- The same, of some types only (a JSON array).
SELECT e.seq, e.type, e.data FROM words CROSS JOIN events e ON e.n = words.rowid
WHERE words MATCH ? AND e.session = ? AND e.seq < ? AND e.data <> x''
  AND e.type IN (SELECT value FROM json_each(?))
ORDER BY words.rowid DESC LIMIT ?;
