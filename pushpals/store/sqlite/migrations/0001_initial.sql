-- The first schema. Records are `doc`, JSON as the wire writes it, beside the columns they are found by.
-- `n` is the order of first insertion everywhere; times are RFC 3339 text, which sorts as time does.

CREATE TABLE sessions (
    n          INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    last       INTEGER NOT NULL DEFAULT 0 CHECK (last >= 0),
    epoch      TEXT NOT NULL,
    head       BLOB NOT NULL CHECK (length(head) = 32),
    doc        TEXT NOT NULL
) STRICT;

-- Clustered by session: a replay reads neighbouring pages. `n` is the order of commit over all sessions,
-- `h` the hash chain of the session.
CREATE TABLE events (
    session INTEGER NOT NULL REFERENCES sessions (n),
    seq     INTEGER NOT NULL CHECK (seq > 0),
    n       INTEGER NOT NULL UNIQUE,
    type    TEXT NOT NULL,
    data    BLOB NOT NULL,
    h       BLOB NOT NULL CHECK (length(h) = 32),
    PRIMARY KEY (session, seq)
) WITHOUT ROWID, STRICT;

-- These guard against our own mistakes, not against somebody with the file. REPLACE deletes without firing
-- a trigger unless the connection sets recursive_triggers.
CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are never changed');
END;

CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are never deleted');
END;

CREATE TABLE jobs (
    n           INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    session_id  TEXT NOT NULL,
    task_id     TEXT NOT NULL,
    kind        TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (
        state IN ('blocked', 'scheduled', 'pending', 'claimed', 'completed', 'failed', 'cancelled')
    ),
    rank        INTEGER NOT NULL CHECK (rank BETWEEN 0 AND 2),
    worker_id   TEXT,
    lease_until TEXT,
    run_at      TEXT,
    created_at  TEXT NOT NULL,
    updated_at  TEXT NOT NULL,
    doc         TEXT NOT NULL
) STRICT;

-- Only what is unfinished is in the first of these, so history costs a claim nothing. Jobs of the future
-- have a state of their own: a claim must not walk over them. Lists of states are sorted, here and in
-- statements, since the planner compares them word by word. There is no plain index on a state: the planner
-- would take it for the better one. Counting states reads the index by session.
CREATE INDEX jobs_pending ON jobs (rank DESC, n, kind) WHERE state = 'pending';
CREATE INDEX jobs_waiting ON jobs (created_at) WHERE state = 'pending';
CREATE INDEX jobs_leases ON jobs (lease_until) WHERE state = 'claimed';
CREATE INDEX jobs_held ON jobs (worker_id) WHERE state = 'claimed';
CREATE INDEX jobs_scheduled ON jobs (run_at) WHERE state = 'scheduled';
CREATE INDEX jobs_blocked ON jobs (session_id) WHERE state = 'blocked';
CREATE INDEX jobs_open ON jobs (session_id, state)
    WHERE state IN ('blocked', 'claimed', 'pending', 'scheduled');
CREATE INDEX jobs_failed ON jobs (updated_at) WHERE state = 'failed';
CREATE INDEX jobs_by_session ON jobs (session_id, updated_at, state);
CREATE INDEX jobs_by_task ON jobs (task_id);

CREATE TABLE attempts (
    n          INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    job_id     TEXT NOT NULL,
    worker_id  TEXT NOT NULL,
    started_at TEXT NOT NULL,
    doc        TEXT NOT NULL
) STRICT;

CREATE INDEX attempts_by_job ON attempts (job_id);

CREATE TABLE approvals (
    n          INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (
        state IN ('open', 'approved', 'denied', 'expired', 'void', 'consumed')
    ),
    expires_at TEXT NOT NULL,
    job_id     TEXT,
    landing_id TEXT,
    created_at TEXT NOT NULL,
    doc        TEXT NOT NULL
) STRICT;

CREATE INDEX approvals_open ON approvals (n) WHERE state = 'open';
CREATE INDEX approvals_expiring ON approvals (expires_at) WHERE state IN ('approved', 'open');
CREATE INDEX approvals_by_session ON approvals (session_id, state);
CREATE INDEX approvals_by_job ON approvals (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX approvals_by_landing ON approvals (landing_id) WHERE landing_id IS NOT NULL;

CREATE TABLE landings (
    n          INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL,
    lane       TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (
        state IN (
            'submitted', 'needs_approval', 'queued', 'prepared', 'composed', 'checking', 'green', 'pushing',
            'held', 'landed', 'noop', 'conflict', 'rejected', 'stale', 'cancelled', 'failed'
        )
    ),
    job_id     TEXT,
    head       TEXT NOT NULL,
    branch     TEXT NOT NULL,
    rank       INTEGER NOT NULL CHECK (rank BETWEEN 0 AND 2),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    doc        TEXT NOT NULL
) STRICT;

CREATE INDEX landings_queue ON landings (lane, rank DESC, n)
    WHERE state IN (
        'checking', 'composed', 'green', 'held', 'needs_approval', 'prepared', 'pushing', 'queued', 'submitted'
    );
CREATE INDEX landings_unfinished ON landings (session_id)
    WHERE state IN (
        'checking', 'composed', 'green', 'held', 'needs_approval', 'prepared', 'pushing', 'queued', 'submitted'
    );
CREATE INDEX landings_by_lane ON landings (lane, updated_at);
CREATE INDEX landings_by_session ON landings (session_id, updated_at, state);
CREATE INDEX landings_by_job ON landings (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX landings_by_head ON landings (head);
CREATE INDEX landings_by_branch ON landings (branch);

CREATE TABLE lanes (
    n           INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    repository  TEXT NOT NULL,
    lease_until TEXT,
    doc         TEXT NOT NULL
) STRICT;

CREATE TABLE repositories (
    n   INTEGER PRIMARY KEY,
    id  TEXT NOT NULL UNIQUE,
    doc TEXT NOT NULL
) STRICT;

CREATE TABLE workers (
    n       INTEGER PRIMARY KEY,
    id      TEXT NOT NULL UNIQUE,
    state   TEXT NOT NULL CHECK (state IN ('idle', 'busy', 'draining', 'paused', 'gone')),
    seen_at TEXT NOT NULL,
    doc     TEXT NOT NULL
) STRICT;

CREATE INDEX workers_by_state ON workers (state, seen_at);

CREATE TABLE tokens (
    n    INTEGER PRIMARY KEY,
    id   TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('operator', 'viewer', 'notebook', 'buddy', 'worker', 'pusher')),
    doc  TEXT NOT NULL
) STRICT;

CREATE TABLE artifacts (
    n          INTEGER PRIMARY KEY,
    sha256     TEXT NOT NULL UNIQUE,
    job_id     TEXT,
    session_id TEXT,
    created_at TEXT NOT NULL,
    doc        TEXT NOT NULL
) STRICT;

CREATE INDEX artifacts_by_job ON artifacts (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX artifacts_by_session ON artifacts (session_id) WHERE session_id IS NOT NULL;

CREATE TABLE marks (
    n          INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL,
    doc        TEXT NOT NULL
) STRICT;

CREATE INDEX marks_by_session ON marks (session_id);

-- The first answer to each idempotency key. Oldest first by `n`, so pruning needs no second index.
CREATE TABLE answers (
    n           INTEGER PRIMARY KEY,
    key         TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    answer      BLOB NOT NULL,
    created_at  TEXT NOT NULL
) STRICT;
