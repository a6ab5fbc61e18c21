-- +goose Up

-- These columns need every event of the log, so this empties the read model and sets its sequence to 0: the
-- projector, which starts behind the sequence, then replays the log.
DELETE FROM events;
DELETE FROM outputs;
DELETE FROM jobs;
DELETE FROM videos;
UPDATE projection SET sequence = 0, poisoned = 0 WHERE id = 1;

-- The time of the last event that was applied, in microseconds since 1970; 0 before the first.
ALTER TABLE projection ADD COLUMN applied_at BIGINT NOT NULL DEFAULT 0;

-- owed and generation are fields of pipeline.VideoView that JSON leaves out, open is its Open(). 0 is false.
ALTER TABLE videos ADD COLUMN owed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE videos ADD COLUMN open BIGINT NOT NULL DEFAULT 1;
ALTER TABLE videos ADD COLUMN generation BIGINT NOT NULL DEFAULT 0;
-- Both hold the few videos that are not done, however many there are.
CREATE INDEX videos_open ON videos (id, created_at, project) WHERE open = 1;
CREATE INDEX videos_backlog ON videos (project) WHERE open = 1 AND owed = 0;

-- A row is a pipeline.Sample: of the event sequence, or, of a video whose events are purged, one of those that
-- video.purged lists, with its sequence and the place in the list. Rows outlive their video. at_us is in
-- microseconds since 1970.
CREATE TABLE samples (
    video    TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    position BIGINT NOT NULL,
    project  TEXT NOT NULL,
    metric   TEXT NOT NULL,
    at_us    BIGINT NOT NULL,
    label    TEXT NOT NULL,
    value    DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (video, sequence, position)
);
CREATE INDEX samples_by_project ON samples (project, at_us);
CREATE INDEX samples_by_time ON samples (at_us);

-- +goose Down
DROP TABLE samples;
DROP INDEX videos_backlog;
DROP INDEX videos_open;
ALTER TABLE videos DROP COLUMN generation;
ALTER TABLE videos DROP COLUMN open;
ALTER TABLE videos DROP COLUMN owed;
ALTER TABLE projection DROP COLUMN applied_at;
