-- Remembered rules: a person's standing answer to one exact shape of command.

CREATE TABLE rules (
    n          INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    shape_hash TEXT NOT NULL CHECK (length(shape_hash) = 64),
    doc        TEXT NOT NULL
) STRICT;

CREATE INDEX rules_by_shape ON rules (shape_hash);
