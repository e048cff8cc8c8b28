-- +goose Up
-- What was granted and taken back: rules of rooms, invitations, stored keys and
-- revocations. What is in data is the business of who grants.
CREATE TABLE grants (
    kind        TEXT NOT NULL,
    id          TEXT NOT NULL,
    room        TEXT NOT NULL,
    expires_ms  INTEGER, -- NULL: never. Later the row may go
    data        BLOB NOT NULL, -- JSON
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX grants_expires ON grants (expires_ms) WHERE expires_ms IS NOT NULL;

-- +goose Down
DROP TABLE grants;
