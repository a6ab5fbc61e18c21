-- +goose Up

-- A field of pipeline.VideoView that JSON leaves out. 0 is false: events of earlier versions owe none.
ALTER TABLE videos ADD COLUMN owed_playable BIGINT NOT NULL DEFAULT 0;
-- A video that has ended is in no backlog, whatever is still to be told of it.
DROP INDEX videos_backlog;
CREATE INDEX videos_backlog ON videos (project, status)
    WHERE status IN ('queued', 'inspecting', 'processing');

-- +goose Down
DROP INDEX videos_backlog;
CREATE INDEX videos_backlog ON videos (project) WHERE open = 1 AND owed = 0;
ALTER TABLE videos DROP COLUMN owed_playable;
