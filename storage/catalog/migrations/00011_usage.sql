-- +goose Up

-- What a video uses. inspected is the sequence of video.inspected, 0 before. stored_ms is
-- VideoView.StoredMilliseconds, source_bytes its size, and output_bytes those of the outputs of completed jobs.
ALTER TABLE videos ADD COLUMN inspected BIGINT NOT NULL DEFAULT 0;
ALTER TABLE videos ADD COLUMN stored_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE videos ADD COLUMN source_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE videos ADD COLUMN output_bytes BIGINT NOT NULL DEFAULT 0;

-- The videos and events that are there have it all. A document that is damaged must not stop the start. Of
-- videos that are deleted, nothing is known any more.
UPDATE videos SET
    inspected = COALESCE((SELECT MIN(e.sequence) FROM events e
        WHERE e.video = videos.id AND e.type = 'video.inspected'), 0),
    stored_ms = CASE WHEN json_extract(doc, '$.playable') OR status IN ('processing', 'ready')
        THEN COALESCE(CAST(json_extract(doc, '$.media.duration') * 1000 AS INTEGER) + (json_extract(doc, '$.media.duration') * 1000 > CAST(json_extract(doc, '$.media.duration') * 1000 AS INTEGER)), 0)
        ELSE 0 END,
    source_bytes = COALESCE(json_extract(doc, '$.size'), 0),
    output_bytes = COALESCE((SELECT SUM(json_extract(o.doc, '$.size')) FROM outputs o
        WHERE o.video = videos.id AND json_valid(o.doc)), 0)
WHERE json_valid(doc);
UPDATE samples SET value = COALESCE((SELECT json_extract(e.doc, '$.data.source.size') FROM events e
    WHERE e.video = samples.video AND e.sequence = samples.sequence AND json_valid(e.doc)), 0)
WHERE metric = 'uploaded';
INSERT INTO samples (video, sequence, position, project, metric, at_us, label, value)
SELECT e.video, e.sequence, 0, e.project, 'fetched',
    CAST(strftime('%s', substr(json_extract(e.doc, '$.time'), 1, 19)) AS INTEGER) * 1000000
        + CASE WHEN substr(json_extract(e.doc, '$.time'), 20, 1) = '.'
            THEN CAST(substr(rtrim(substr(json_extract(e.doc, '$.time'), 21), 'Z') || '000000', 1, 6) AS INTEGER)
            ELSE 0 END,
    '', json_extract(e.doc, '$.data.result.source.size')
FROM events e
WHERE e.type = 'job.completed' AND json_valid(e.doc) AND json_extract(e.doc, '$.data.step') = 'fetch'
    AND json_extract(e.doc, '$.data.result.source.size') IS NOT NULL;
INSERT INTO samples (video, sequence, position, project, metric, at_us, label, value)
SELECT e.video, e.sequence, 0, e.project, 'encoded',
    CAST(strftime('%s', substr(json_extract(e.doc, '$.time'), 1, 19)) AS INTEGER) * 1000000
        + CASE WHEN substr(json_extract(e.doc, '$.time'), 20, 1) = '.'
            THEN CAST(substr(rtrim(substr(json_extract(e.doc, '$.time'), 21), 'Z') || '000000', 1, 6) AS INTEGER)
            ELSE 0 END,
    '', COALESCE(CAST(json_extract(e.doc, '$.data.media.duration') * 1000 AS INTEGER) + (json_extract(e.doc, '$.data.media.duration') * 1000 > CAST(json_extract(e.doc, '$.data.media.duration') * 1000 AS INTEGER)), 0)
FROM events e
WHERE e.type = 'video.inspected' AND json_valid(e.doc) AND json_extract(e.doc, '$.data.verdict') = 'accept'
    AND NOT EXISTS (SELECT 1 FROM events c WHERE c.video = e.video AND c.sequence < e.sequence
        AND c.type IN ('video.ready', 'video.errored', 'video.rejected', 'video.canceled'));

CREATE INDEX videos_usage ON videos (project, inspected, stored_ms, source_bytes, output_bytes);

-- The samples that usage is counted by. A query reads this index alone.
CREATE INDEX samples_usage ON samples (project, metric, at_us, sequence, video, value)
    WHERE metric IN ('uploaded', 'fetched', 'encoded');

-- +goose Down
DROP INDEX samples_usage;
DROP INDEX videos_usage;
DELETE FROM samples WHERE metric IN ('fetched', 'encoded');
ALTER TABLE videos DROP COLUMN output_bytes;
ALTER TABLE videos DROP COLUMN source_bytes;
ALTER TABLE videos DROP COLUMN stored_ms;
ALTER TABLE videos DROP COLUMN inspected;
