-- +goose Up

-- doc is an access.SigningKey, revoked ones included. created is the sequence of signing_key.created.
CREATE TABLE signing_keys (
    id      TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    created BIGINT NOT NULL,
    revoked BIGINT NOT NULL,
    doc     TEXT NOT NULL
);
CREATE INDEX signing_keys_by_project ON signing_keys (project, created);

-- signed is 1 for a video that plays with a token only. A process of a version without this column has played
-- to everybody, and what it has kept says 0.
ALTER TABLE videos ADD COLUMN signed BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE videos DROP COLUMN signed;
DROP TABLE signing_keys;
