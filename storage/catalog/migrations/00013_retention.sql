-- +goose Up

-- When a video ended, in microseconds: VideoView.EndedAt; 0 while it has not. held is 1 for a video with a legal
-- hold. source_bytes is 0 once the source is deleted.
ALTER TABLE videos ADD COLUMN ended BIGINT NOT NULL DEFAULT 0;
ALTER TABLE videos ADD COLUMN held BIGINT NOT NULL DEFAULT 0;

-- The later one of the times of the end and of the upload. A document that is damaged must not stop the start.
UPDATE videos SET ended = MAX(created_at,
    CAST(strftime('%s', substr(json_extract(doc, '$.finished_at'), 1, 19)) AS INTEGER) * 1000000
        + CASE WHEN substr(json_extract(doc, '$.finished_at'), 20, 1) = '.'
            THEN CAST(substr(rtrim(substr(json_extract(doc, '$.finished_at'), 21), 'Z') || '000000', 1, 6) AS INTEGER)
            ELSE 0 END)
WHERE json_valid(doc) AND json_extract(doc, '$.finished_at') IS NOT NULL
    AND status IN ('ready', 'errored', 'rejected', 'canceled');

-- What a rule may delete, the oldest first.
CREATE INDEX videos_ended ON videos (project, ended, id, source_bytes, output_bytes) WHERE ended > 0 AND held = 0;
CREATE INDEX videos_sources ON videos (project, ended, id, source_bytes)
    WHERE ended > 0 AND held = 0 AND source_bytes > 0;

-- +goose Down
DROP INDEX videos_sources;
DROP INDEX videos_ended;
ALTER TABLE videos DROP COLUMN held;
ALTER TABLE videos DROP COLUMN ended;
