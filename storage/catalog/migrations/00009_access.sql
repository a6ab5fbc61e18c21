-- +goose Up

-- doc is an access.Project. The project default has a row only once it was changed.
CREATE TABLE projects (
    name    TEXT PRIMARY KEY,
    deleted BIGINT NOT NULL,
    doc     TEXT NOT NULL
);

-- doc is an access.Key, revoked ones included. created is the sequence of key.created.
CREATE TABLE api_keys (
    id      TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    created BIGINT NOT NULL,
    revoked BIGINT NOT NULL,
    doc     TEXT NOT NULL
);
CREATE INDEX api_keys_by_project ON api_keys (project, created);

-- The events of projects and keys: who did what. thing is "project", or the id of a key. A process of a version
-- without this table leaves them out, until the read model is made anew.
CREATE TABLE access_events (
    sequence BIGINT PRIMARY KEY,
    thing    TEXT NOT NULL,
    project  TEXT NOT NULL,
    type     TEXT NOT NULL,
    doc      TEXT NOT NULL
);
CREATE INDEX access_events_by_project ON access_events (project, sequence, type);

-- +goose Down
DROP TABLE access_events;
DROP TABLE api_keys;
DROP TABLE projects;
