-- +goose Up

-- A field of pipeline.VideoView that JSON leaves out. 0 is false: events of earlier versions have no webhook.
ALTER TABLE videos ADD COLUMN owed_playable BIGINT NOT NULL DEFAULT 0;
-- A video that has ended is not in the backlog, even if a webhook of it is still to be sent.
DROP INDEX videos_backlog;
CREATE INDEX videos_backlog ON videos (project, status)
    WHERE status IN ('queued', 'inspecting', 'processing');

-- +goose Down
DROP INDEX videos_backlog;
CREATE INDEX videos_backlog ON videos (project) WHERE open = 1 AND owed = 0;
ALTER TABLE videos DROP COLUMN owed_playable;
