-- Jobs in the order of their turn, full-text search, and retention.

-- `due` is the static key of ageing and fairness (see pushpals.hub.turns): milliseconds since 1970, less a
-- bonus for the priority. What waits gets its key from when it was made.
ALTER TABLE jobs ADD COLUMN due INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN repository TEXT NOT NULL DEFAULT '';

UPDATE jobs SET due = CAST(unixepoch(substr(created_at, 1, 19)) AS INTEGER) * 1000 - rank * 600000
WHERE state IN ('blocked', 'claimed', 'pending', 'scheduled');

DROP INDEX jobs_pending;
CREATE INDEX jobs_turns ON jobs (due, n, kind) WHERE state = 'pending';
CREATE INDEX jobs_flows ON jobs (session_id, due) WHERE state = 'pending';
CREATE INDEX jobs_running ON jobs (session_id, repository) WHERE state = 'claimed';
CREATE INDEX jobs_ended ON jobs (updated_at) WHERE state IN ('cancelled', 'completed', 'failed');

CREATE INDEX landings_ended ON landings (updated_at)
    WHERE state IN ('cancelled', 'conflict', 'failed', 'landed', 'noop', 'rejected', 'stale');

-- The oldest event whose body is kept. It belongs to the store, as `last` does.
ALTER TABLE sessions ADD COLUMN first INTEGER NOT NULL DEFAULT 1;

-- The one door in the rule that events are never changed: an event that its session has given up
-- (seq < first) may lose its body. Its place, its type and its link of the chain stay, so what is left can
-- still be checked. Nothing else about it may change, and there is no door for deleting.
DROP TRIGGER events_are_not_changed;
CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
WHEN NOT (
    NEW.data = x'' AND NEW.session = OLD.session AND NEW.seq = OLD.seq AND NEW.n = OLD.n
    AND NEW.type = OLD.type AND NEW.h = OLD.h
    AND OLD.seq < (SELECT first FROM sessions WHERE n = OLD.session)
)
BEGIN
    SELECT RAISE(ABORT, 'events are never changed');
END;

CREATE TRIGGER first_only_grows BEFORE UPDATE OF first ON sessions
WHEN NEW.first < OLD.first OR NEW.first > OLD.last + 1
BEGIN
    SELECT RAISE(ABORT, 'what was given up stays given up, and nothing is before it happened');
END;

-- Words of what people and agents said, by the number `n` of their event. `place` is the word 's<session>'.
-- Contentless: the text is in the events already. `searched` says up to which `n` it is filled.
CREATE VIRTUAL TABLE words USING fts5 (place, text, content = '', tokenize = 'unicode61');
CREATE TABLE searched (only INTEGER PRIMARY KEY CHECK (only = 1), n INTEGER NOT NULL) STRICT;
INSERT INTO searched (only, n) VALUES (1, 0);
