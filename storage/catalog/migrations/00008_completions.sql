-- +goose Up

-- When the jobs of each worker type were completed, for the pace of queues. It needs no column: doc has both. A
-- document that is damaged must not stop the start.
CREATE INDEX jobs_completed ON jobs (
    (CASE WHEN json_valid(doc) THEN json_extract(doc, '$.finished_at') END),
    (CASE WHEN json_valid(doc) THEN json_extract(doc, '$.worker') END)
) WHERE status = 'completed';

-- +goose Down
DROP INDEX jobs_completed;
