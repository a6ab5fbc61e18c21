-- +goose Up

-- A row is a key of a video's metadata. pair stands for key and value, however long they are (pairOf). Queries
-- for a pair walk the index in the order of a list of videos.
CREATE TABLE video_metadata (
    video      TEXT NOT NULL,
    key        TEXT NOT NULL,
    pair       TEXT NOT NULL,
    project    TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (video, key)
);
CREATE INDEX video_metadata_by_pair ON video_metadata (project, pair, created_at, video);

-- folded is the text in which searches look (searchText): title, file name and passthrough.
CREATE TABLE video_text (
    id     INTEGER PRIMARY KEY,
    video  TEXT NOT NULL UNIQUE,
    folded TEXT NOT NULL
);
-- The index of folded, by sequences of three characters. It does not keep the texts themselves.
CREATE VIRTUAL TABLE video_grams USING fts5 (
    folded, content = '', contentless_delete = 1, tokenize = 'trigram case_sensitive 1'
);

-- +goose Down
DROP TABLE video_grams;
DROP TABLE video_text;
DROP TABLE video_metadata;
