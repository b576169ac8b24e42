-- Format 1. Tables of the record (immutable rows): logs, segments, sessions' salts. Derived tables (can be rebuilt from the
-- record): tail, blocks, block_columns, postings, pending_postings, hours, session_hours, session_spans, totals.
-- `place` is log_no << 40 | index for segments and tail, log_no << 30 | block number for blocks: one integer key whose
-- inserts land at the right-hand edge of each log. A block is 1,024 consecutive indexes of a log.

CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;

-- The durations of all sessions are summed in whole seconds and remaining microseconds: a sum of microseconds would leave 64 bits
-- after thirty sessions that span the years 1 to 9999.
CREATE TABLE logs (
    log_no INTEGER PRIMARY KEY,
    log_id INTEGER NOT NULL UNIQUE,
    origin TEXT NOT NULL UNIQUE,
    tenant_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    next_index INTEGER NOT NULL,
    received_at_ns INTEGER NOT NULL,
    last_leaf BLOB NOT NULL,
    sessions INTEGER NOT NULL,
    session_duration_s INTEGER NOT NULL,
    session_duration_us INTEGER NOT NULL,
    UNIQUE (tenant_id, project_id)
) STRICT;

-- Small columns stand before the bodies, so that reading them does not walk the overflow pages of the bodies.
CREATE TABLE segments (
    place INTEGER PRIMARY KEY,
    events INTEGER NOT NULL,
    received_at_ns INTEGER NOT NULL,
    leaf_before BLOB NOT NULL,
    salts BLOB NOT NULL,
    digests BLOB NOT NULL,
    entries BLOB NOT NULL,
    bodies BLOB NOT NULL
) STRICT;

CREATE TABLE tail (place INTEGER PRIMARY KEY, columns BLOB NOT NULL) STRICT;

CREATE TABLE blocks (
    place INTEGER PRIMARY KEY,
    events INTEGER NOT NULL,
    min_us INTEGER NOT NULL,
    max_us INTEGER NOT NULL,
    types INTEGER NOT NULL,
    statuses INTEGER NOT NULL,
    severities INTEGER NOT NULL
) STRICT;

CREATE TABLE block_columns (place INTEGER PRIMARY KEY, columns BLOB NOT NULL) STRICT;

CREATE TABLE postings (entry BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;

CREATE TABLE pending_postings (commit_no INTEGER PRIMARY KEY, entries BLOB NOT NULL) STRICT;

CREATE TABLE sessions (
    session_no INTEGER PRIMARY KEY,
    log_no INTEGER NOT NULL,
    session_id TEXT NOT NULL,
    salt BLOB NOT NULL,
    events INTEGER NOT NULL,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    hour INTEGER
) STRICT;
CREATE UNIQUE INDEX sessions_by_id ON sessions (log_no, session_id);

CREATE TABLE totals (log_no INTEGER, type INTEGER, events INTEGER NOT NULL, PRIMARY KEY (log_no, type)) STRICT, WITHOUT ROWID;

CREATE TABLE hours (
    log_no INTEGER, hour INTEGER, type INTEGER, events INTEGER NOT NULL, PRIMARY KEY (log_no, hour, type)
) STRICT, WITHOUT ROWID;

CREATE TABLE session_hours (
    log_no INTEGER, hour INTEGER, sessions INTEGER NOT NULL, duration_us INTEGER NOT NULL, PRIMARY KEY (log_no, hour)
) STRICT, WITHOUT ROWID;

CREATE TABLE session_spans (
    log_no INTEGER, hour INTEGER, session_no INTEGER, PRIMARY KEY (log_no, hour, session_no)
) STRICT, WITHOUT ROWID;

CREATE TABLE quarantine (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    digest BLOB NOT NULL,
    event_id TEXT NOT NULL,
    reasons TEXT NOT NULL,
    first_received_at_ns INTEGER NOT NULL,
    last_received_at_ns INTEGER NOT NULL,
    arrivals INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    raw BLOB NOT NULL,
    UNIQUE (tenant_id, project_id, digest)
) STRICT;
