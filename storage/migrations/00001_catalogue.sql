-- +goose Up
-- An index of the folders below recordings/: rebuilt from them when missing.
CREATE TABLE recordings (
    id          TEXT PRIMARY KEY,
    room        TEXT NOT NULL,
    started_ms  INTEGER NOT NULL,
    summary     TEXT NOT NULL -- JSON of Lecture
) WITHOUT ROWID;
CREATE INDEX recordings_room ON recordings (room, id);

CREATE TABLE events (
    room    TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    dedupe  TEXT, -- NULL: none
    payload BLOB NOT NULL,
    PRIMARY KEY (room, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX events_dedupe ON events (room, dedupe) WHERE dedupe IS NOT NULL;

CREATE TABLE files (
    id          TEXT PRIMARY KEY,
    room        TEXT NOT NULL,
    client_id   TEXT NOT NULL,
    by_member   TEXT NOT NULL,
    name        TEXT NOT NULL,
    size        INTEGER NOT NULL,
    sha256      TEXT NOT NULL,
    media_type  TEXT NOT NULL,
    stored      INTEGER NOT NULL DEFAULT 0,
    updated_ms  INTEGER NOT NULL,
    UNIQUE (room, by_member, client_id)
) WITHOUT ROWID;
CREATE INDEX files_room ON files (room, stored);

CREATE TABLE classes (
    room        TEXT PRIMARY KEY,
    state       BLOB NOT NULL,
    updated_ms  INTEGER NOT NULL
) WITHOUT ROWID;

-- +goose Down
DROP TABLE classes;
DROP TABLE files;
DROP TABLE events;
DROP TABLE recordings;
