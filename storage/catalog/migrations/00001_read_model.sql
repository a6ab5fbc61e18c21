-- +goose Up

-- How far the projection is: one row. poisoned counts the events that could not be decoded.
CREATE TABLE projection (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    sequence BIGINT NOT NULL,
    poisoned BIGINT NOT NULL
);
INSERT INTO projection (id, sequence, poisoned) VALUES (1, 0, 0);

-- doc is a pipeline.VideoView in JSON; the weights are its fields that JSON leaves out. created_at is in
-- microseconds since 1970.
CREATE TABLE videos (
    id             TEXT PRIMARY KEY,
    project        TEXT NOT NULL,
    status         TEXT NOT NULL,
    created_at     BIGINT NOT NULL,
    planned_weight BIGINT NOT NULL,
    done_weight    BIGINT NOT NULL,
    doc            TEXT NOT NULL
);
CREATE INDEX videos_newest ON videos (project, created_at, id);
CREATE INDEX videos_newest_by_status ON videos (project, status, created_at, id);

-- doc is a pipeline.JobView. born is the sequence of the event that created the job, position its place in the
-- plan: all jobs of a plan have the same born.
CREATE TABLE jobs (
    video      TEXT NOT NULL,
    name       TEXT NOT NULL,
    status     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    born       BIGINT NOT NULL,
    position   BIGINT NOT NULL,
    doc        TEXT NOT NULL,
    PRIMARY KEY (video, name)
);

-- doc is a pipeline.OutputView. sequence is that of the job's completion, position the place in its result.
CREATE TABLE outputs (
    video    TEXT NOT NULL,
    job      TEXT NOT NULL,
    path     TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    position BIGINT NOT NULL,
    doc      TEXT NOT NULL,
    PRIMARY KEY (video, job, path)
);
CREATE INDEX outputs_by_path ON outputs (video, path, sequence, position);

-- doc is the whole event, as it was on the wire.
CREATE TABLE events (
    video    TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    project  TEXT NOT NULL,
    doc      TEXT NOT NULL,
    PRIMARY KEY (video, sequence)
);

-- +goose Down
DROP TABLE events;
DROP TABLE outputs;
DROP TABLE jobs;
DROP TABLE videos;
DROP TABLE projection;
