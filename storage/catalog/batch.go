package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/reelmill/reelmill/pipeline"
)

// batch is one Apply: its transaction, and the views that it has read or changed and not written yet.
type batch struct {
	pool   *pool
	tx     *sql.Tx
	stmts  map[string]*sql.Stmt
	videos map[string]*videoEntry
	poison []poisoned
	moved  bool

	samples []counted
}

// counted is a sample with the sequence of its event.
type counted struct {
	sequence uint64
	sample   pipeline.Sample
}

// poisoned is an event that was skipped, and why.
type poisoned struct {
	event pipeline.Event
	err   error
}

// Error implements error.
func (p poisoned) Error() string { return p.err.Error() }

// videoEntry is a video in a batch, with the jobs that the batch has read.
type videoEntry struct {
	view  pipeline.VideoView
	known bool // the video exists
	dirty bool
	jobs  map[string]*jobEntry
	found *searchable // what the tables for searches hold; nil: nothing

	inspected   uint64 // sequence of video.inspected; 0 before
	outputBytes int64  // of the outputs of the jobs that are completed
}

// jobEntry is a job in a batch. If its view has no ID, the job does not exist yet.
type jobEntry struct {
	view     pipeline.JobView
	born     uint64 // sequence of the event that created it
	position int    // in the plan
	dirty    bool
}

func newBatch(p *pool, tx *sql.Tx) *batch {
	return &batch{pool: p, tx: tx, stmts: map[string]*sql.Stmt{}, videos: map[string]*videoEntry{}}
}

func (b *batch) stmt(ctx context.Context, text string) *sql.Stmt {
	s, ok := b.stmts[text]
	if !ok {
		s = b.tx.StmtContext(ctx, b.pool.stmt(text))
		b.stmts[text] = s
	}
	return s
}

func (b *batch) exec(ctx context.Context, text string, args ...any) error {
	_, err := b.stmt(ctx, text).ExecContext(ctx, args...)
	return err
}

// video returns the entry of a video and reads it from the file the first time.
func (b *batch) video(ctx context.Context, id string) (*videoEntry, error) {
	if v := b.videos[id]; v != nil {
		return v, nil
	}
	var doc string
	var hidden pipeline.VideoView // the fields that JSON omits
	v := &videoEntry{jobs: map[string]*jobEntry{}}
	err := b.stmt(ctx, sqlVideoRow).QueryRowContext(ctx, id).Scan(&doc,
		&hidden.PlannedWeight, &hidden.DoneWeight, &hidden.Owed, &hidden.OwedPlayable, &hidden.Generation,
		&v.inspected, &v.outputBytes)
	switch {
	case err == nil:
		if err := decode([]byte(doc), &v.view); err != nil {
			return nil, fmt.Errorf("decode video %s: %w", id, err)
		}
		v.known = true
		found := searchableOf(&v.view)
		v.found = &found
		v.view.PlannedWeight, v.view.DoneWeight = hidden.PlannedWeight, hidden.DoneWeight
		v.view.Owed, v.view.OwedPlayable, v.view.Generation = hidden.Owed, hidden.OwedPlayable, hidden.Generation
	case !errors.Is(err, sql.ErrNoRows):
		return nil, err
	}
	b.videos[id] = v
	return v, nil
}

// job returns the entry of a job and reads it from the file the first time.
func (b *batch) job(ctx context.Context, v *videoEntry, name string) (*jobEntry, error) {
	if j := v.jobs[name]; j != nil {
		return j, nil
	}
	_, j, err := scanJob(b.stmt(ctx, sqlJobRow).QueryRowContext(ctx, v.view.ID, name))
	if errors.Is(err, sql.ErrNoRows) {
		j, err = &jobEntry{}, nil
	}
	if err != nil {
		return nil, err
	}
	v.jobs[name] = j
	return j, nil
}

func scanJob(row interface{ Scan(...any) error }) (name string, j *jobEntry, err error) {
	var doc string
	var born int64
	j = &jobEntry{}
	if err := row.Scan(&name, &doc, &born, &j.position); err != nil {
		return "", nil, err
	}
	j.born = uint64(born)
	if err := decode([]byte(doc), &j.view); err != nil {
		return "", nil, fmt.Errorf("decode job %s: %w", name, err)
	}
	return name, j, nil
}

// flush writes the views that the batch has changed.
func (b *batch) flush(ctx context.Context) error {
	for id, v := range b.videos {
		for name, j := range v.jobs {
			if err := b.putJob(ctx, id, name, j); err != nil {
				return err
			}
		}
		if !v.dirty {
			continue
		}
		if err := b.putVideo(ctx, id, v); err != nil {
			return err
		}
		if found := searchableOf(&v.view); v.found == nil || !v.found.equal(found) {
			if err := putSearchable(ctx, b, id, found); err != nil {
				return fmt.Errorf("index video %s: %w", id, err)
			}
		}
	}
	return nil
}

func (b *batch) putVideo(ctx context.Context, id string, entry *videoEntry) error {
	v := &entry.view
	doc, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode video %s: %w", id, err)
	}
	return b.exec(ctx, sqlPutVideo, id, v.Project, string(v.Status), v.CreatedAt.UnixMicro(),
		v.PlannedWeight, v.DoneWeight, flag(v.Owed), flag(v.OwedPlayable), flag(v.Open()), v.Generation,
		int64(entry.inspected), v.StoredMilliseconds(), v.SourceBytes(), entry.outputBytes,
		flag(v.PlaybackPolicy.Signed()), endedAt(v), flag(v.Hold != nil), string(doc))
}

// endedAt returns when a video ended, for a column; 0 for one that has not.
func endedAt(v *pipeline.VideoView) int64 {
	if at := v.EndedAt(); !at.IsZero() {
		return at.UnixMicro()
	}
	return 0
}

// flag converts a bool for a column.
func flag(set bool) int {
	if set {
		return 1
	}
	return 0
}

func (b *batch) putJob(ctx context.Context, video, name string, j *jobEntry) error {
	if !j.dirty {
		return nil
	}
	doc, err := json.Marshal(j.view)
	if err != nil {
		return fmt.Errorf("encode job %s/%s: %w", video, name, err)
	}
	return b.exec(ctx, sqlPutJob, video, name, string(j.view.Status), j.view.CreatedAt.UnixMicro(),
		int64(j.born), j.position, string(doc))
}
