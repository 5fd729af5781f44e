-- Tokens may have the role `notebook`. A CHECK cannot be changed, so the table is made anew.

CREATE TABLE tokens_of_all_roles (
    n    INTEGER PRIMARY KEY,
    id   TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('operator', 'viewer', 'notebook', 'buddy', 'worker', 'pusher')),
    doc  TEXT NOT NULL
) STRICT;

INSERT INTO tokens_of_all_roles (n, id, role, doc) SELECT n, id, role, doc FROM tokens;

DROP TABLE tokens;

ALTER TABLE tokens_of_all_roles RENAME TO tokens;
