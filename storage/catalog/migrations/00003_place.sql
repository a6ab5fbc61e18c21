-- +goose Up

-- The id of the event at which the projection stands: it tells another log from the one that was applied. Empty
-- before the first, and until the next one is applied.
ALTER TABLE projection ADD COLUMN event_id TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE projection DROP COLUMN event_id;
