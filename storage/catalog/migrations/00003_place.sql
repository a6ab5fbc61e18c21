-- +goose Up

-- The id of the last applied event: it tells another log from the applied one. Empty before the first event,
-- and until the next one is applied.
ALTER TABLE projection ADD COLUMN event_id TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE projection DROP COLUMN event_id;
