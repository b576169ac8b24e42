-- Format 2. The transparency log: the tree over each log's entries, its signed heads, entries that are no events; and the guard.
-- `place` is log_no << 40 | level << 36 | number for tiles, log_no << 40 | size for heads.

CREATE TABLE tiles (place INTEGER PRIMARY KEY, hashes BLOB NOT NULL) STRICT;

CREATE TABLE heads (
    place INTEGER PRIMARY KEY,
    signed_at_ns INTEGER NOT NULL,
    root BLOB NOT NULL,
    note BLOB NOT NULL
) STRICT;

-- Size of the newest signed head, and how many entries are no events.
ALTER TABLE logs ADD COLUMN head_size INTEGER NOT NULL DEFAULT 0;
ALTER TABLE logs ADD COLUMN other_entries INTEGER NOT NULL DEFAULT 0;

-- Where the entry of a kept item stands (a place as in segments); -1 when no log can hold it. Items of nobody get none.
ALTER TABLE quarantine ADD COLUMN place INTEGER;
CREATE INDEX quarantine_unlogged ON quarantine (number) WHERE place IS NULL AND tenant_id <> '';

-- The guard stops accidents: a statement that would change or drop a part of the record fails. INSERT OR REPLACE deletes without
-- asking DELETE triggers unless recursive_triggers is on, so an insert on an existing key is refused before it.
CREATE TRIGGER segments_keep_update BEFORE UPDATE ON segments
BEGIN SELECT raise(ABORT, 'the record is append-only: segments are never changed'); END;
CREATE TRIGGER segments_keep_delete BEFORE DELETE ON segments
BEGIN SELECT raise(ABORT, 'the record is append-only: segments are never deleted'); END;
CREATE TRIGGER segments_keep_insert BEFORE INSERT ON segments WHEN EXISTS (SELECT 1 FROM segments WHERE place = NEW.place)
BEGIN SELECT raise(ABORT, 'the record is append-only: a segment stands at this place'); END;

CREATE TRIGGER logs_keep_update BEFORE UPDATE ON logs
WHEN NEW.log_no <> OLD.log_no OR NEW.log_id <> OLD.log_id OR NEW.origin <> OLD.origin OR NEW.tenant_id <> OLD.tenant_id
    OR NEW.project_id <> OLD.project_id OR NEW.next_index < OLD.next_index OR NEW.received_at_ns < OLD.received_at_ns
    OR NEW.head_size < OLD.head_size OR NEW.other_entries < OLD.other_entries
BEGIN SELECT raise(ABORT, 'the record is append-only: a log only grows'); END;
CREATE TRIGGER logs_keep_delete BEFORE DELETE ON logs
BEGIN SELECT raise(ABORT, 'the record is append-only: logs are never deleted'); END;
CREATE TRIGGER logs_keep_insert BEFORE INSERT ON logs
WHEN EXISTS (SELECT 1 FROM logs WHERE log_no = NEW.log_no OR log_id = NEW.log_id OR origin = NEW.origin
    OR (tenant_id = NEW.tenant_id AND project_id = NEW.project_id))
BEGIN SELECT raise(ABORT, 'the record is append-only: this log exists'); END;

CREATE TRIGGER sessions_keep_update BEFORE UPDATE ON sessions
WHEN NEW.session_no <> OLD.session_no OR NEW.log_no <> OLD.log_no OR NEW.session_id <> OLD.session_id OR NEW.salt <> OLD.salt
    OR NEW.events < OLD.events
BEGIN SELECT raise(ABORT, 'the record is append-only: a session only grows'); END;
CREATE TRIGGER sessions_keep_delete BEFORE DELETE ON sessions
BEGIN SELECT raise(ABORT, 'the record is append-only: sessions are never deleted'); END;
CREATE TRIGGER sessions_keep_insert BEFORE INSERT ON sessions
WHEN EXISTS (SELECT 1 FROM sessions WHERE session_no = NEW.session_no
    OR (log_no = NEW.log_no AND session_id = NEW.session_id))
BEGIN SELECT raise(ABORT, 'the record is append-only: this session exists'); END;

CREATE TRIGGER tiles_keep_update BEFORE UPDATE ON tiles
WHEN NEW.place <> OLD.place OR substr(NEW.hashes, 1, length(OLD.hashes)) <> OLD.hashes
BEGIN SELECT raise(ABORT, 'the record is append-only: a tile only grows'); END;
CREATE TRIGGER tiles_keep_delete BEFORE DELETE ON tiles
BEGIN SELECT raise(ABORT, 'the record is append-only: tiles are never deleted'); END;
CREATE TRIGGER tiles_keep_insert BEFORE INSERT ON tiles WHEN EXISTS (SELECT 1 FROM tiles WHERE place = NEW.place)
BEGIN SELECT raise(ABORT, 'the record is append-only: this tile exists'); END;

CREATE TRIGGER heads_keep_update BEFORE UPDATE ON heads
WHEN NEW.place <> OLD.place OR NEW.root <> OLD.root OR substr(NEW.note, 1, length(OLD.note)) <> OLD.note
BEGIN SELECT raise(ABORT, 'the record is append-only: a signed head only gets signatures'); END;
CREATE TRIGGER heads_keep_delete BEFORE DELETE ON heads
WHEN (OLD.place & ((1 << 40) - 1)) >= (SELECT head_size FROM logs WHERE log_no = OLD.place >> 40)
BEGIN SELECT raise(ABORT, 'the record is append-only: the newest signed head is kept'); END;
CREATE TRIGGER heads_keep_insert BEFORE INSERT ON heads WHEN EXISTS (SELECT 1 FROM heads WHERE place = NEW.place)
BEGIN SELECT raise(ABORT, 'the record is append-only: this head exists'); END;
