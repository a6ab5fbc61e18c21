package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/reelmill/reelmill/pipeline"
)

// Apply folds events, in ascending sequence, into the catalog: all or none. It skips events at or below the
// catalog's sequence, so a batch may be given again, whole or in part. It returns ErrOrder for an event
// without a sequence, and for an unapplied one that comes after a later one in the batch. If another process
// moved the sequence meanwhile, it returns pipeline.ErrConflict; give the batch again.
func (c *Catalog) Apply(ctx context.Context, events []pipeline.Event) error {
	if len(events) == 0 {
		return nil
	}
	var b *batch
	err := c.writer.transact(ctx, func(tx *sql.Tx) error {
		b = newBatch(c.writer, tx)
		return b.run(ctx, events)
	})
	if err != nil {
		return fmt.Errorf("apply events %d to %d: %w",
			events[0].Sequence, events[len(events)-1].Sequence, c.explain(err))
	}
	for _, p := range b.poison {
		c.log().WarnContext(ctx, "catalog left out an event that it cannot decode", "sequence", p.event.Sequence,
			"type", string(p.event.Type), "subject", p.event.Subject, "error", p.err)
	}
	if b.moved {
		c.broadcast()
		c.tell(b.samples)
	}
	return nil
}

func (c *Catalog) log() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// Observe makes Apply call tell with each new sample and the sequence of its event, after the commit. It
// skips the samples of purged videos, which were counted before. tell must return soon.
func (c *Catalog) Observe(tell func(sequence uint64, s pipeline.Sample)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.observe = tell
}

func (c *Catalog) tell(samples []counted) {
	c.mu.Lock()
	observe := c.observe
	c.mu.Unlock()
	if observe == nil {
		return
	}
	for _, s := range samples {
		observe(s.sequence, s.sample)
	}
}

func (b *batch) run(ctx context.Context, events []pipeline.Event) error {
	var stored int64
	if err := b.stmt(ctx, sqlSequence).QueryRowContext(ctx).Scan(&stored); err != nil {
		return err
	}
	fresh, err := unapplied(events, uint64(stored))
	if err != nil || len(fresh) == 0 {
		return err
	}
	for _, e := range fresh {
		err := b.apply(ctx, e)
		if p, ok := errors.AsType[poisoned](err); ok {
			b.poison = append(b.poison, p)
			continue
		}
		if err != nil {
			return fmt.Errorf("event %d: %w", e.Sequence, err)
		}
	}
	if err := b.flush(ctx); err != nil {
		return err
	}
	return b.moveOn(ctx, uint64(stored), fresh[len(fresh)-1])
}

// unapplied returns the events above stored, each once.
func unapplied(events []pipeline.Event, stored uint64) ([]pipeline.Event, error) {
	var fresh []pipeline.Event
	bySequence := func(e pipeline.Event, seq uint64) int {
		switch {
		case e.Sequence < seq:
			return -1
		case e.Sequence > seq:
			return 1
		}
		return 0
	}
	for _, e := range events {
		switch {
		case e.Sequence == 0 || e.Sequence > maxSequence:
			return nil, fmt.Errorf("%w: %s %s has sequence %d", ErrOrder, e.Type, e.ID, e.Sequence)
		case e.Sequence <= stored:
			continue
		case len(fresh) == 0 || e.Sequence > fresh[len(fresh)-1].Sequence:
			fresh = append(fresh, e)
			continue
		}
		if _, again := slices.BinarySearchFunc(fresh, e.Sequence, bySequence); !again {
			last := fresh[len(fresh)-1].Sequence
			return nil, fmt.Errorf("%w: %d comes after %d", ErrOrder, e.Sequence, last)
		}
	}
	return fresh, nil
}

// maxSequence is the largest sequence that a column can hold.
const maxSequence = 1<<63 - 1

// moveOn moves the sequence to the batch's last event if it still is where the batch found it; otherwise
// the batch fails.
func (b *batch) moveOn(ctx context.Context, from uint64, last pipeline.Event) error {
	result, err := b.stmt(ctx, sqlMoveOn).ExecContext(ctx,
		int64(last.Sequence), len(b.poison), last.Time.UnixMicro(), last.ID, int64(from))
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("another projector is at work: %w", pipeline.ErrConflict)
	}
	b.moved = true
	return nil
}

// apply folds one event. If the event cannot be decoded, it changes nothing and returns a poisoned error.
func (b *batch) apply(ctx context.Context, e pipeline.Event) error {
	_, _, ofAccess := pipeline.AccessAddress(e.Subject)
	project, video, job, err := pipeline.Address(e.Subject)
	if err != nil && !ofAccess {
		return poisoned{e, err}
	}
	doc, err := json.Marshal(e)
	if err != nil {
		return poisoned{e, err}
	}
	if !utf8.Valid(doc) {
		return poisoned{e, errors.New("the data is not UTF-8")}
	}
	if ofAccess {
		return b.applyAccess(ctx, e, doc)
	}
	v, err := b.video(ctx, video)
	if err != nil {
		return err
	}
	switch {
	case v.known && v.view.Project != project:
		return nil // another project has a video with this id
	case e.Type == pipeline.VideoPurged:
		if err := b.purge(ctx, v, project, video, e); err != nil {
			return err
		}
		return b.putDeletion(ctx, e, project, video, doc)
	case e.Type == pipeline.VideoDeleted:
		if v.known {
			if err := b.remove(ctx, v); err != nil {
				return err
			}
		}
		return b.putDeletion(ctx, e, project, video, doc)
	case !v.known && e.Type != pipeline.VideoUploaded:
		return nil // it was deleted
	}
	var view pipeline.JobView
	if job == "" {
		err = b.applyVideo(ctx, v, e)
	} else if pipeline.JobStateOf(e.Type) != "" && e.Type != "" {
		view, err = b.applyJob(ctx, v, job, e)
	}
	if err != nil || !v.known {
		return err
	}
	if s, ok := pipeline.SampleOf(e, v.view, view); ok {
		if err := b.putSample(ctx, project, video, e.Sequence, 0, s); err != nil {
			return err
		}
		b.samples = append(b.samples, counted{e.Sequence, s})
	}
	return b.put(ctx, sqlPutEvent, e, project, video, doc)
}

// put stores an event, by one of the two statements that do.
func (b *batch) put(ctx context.Context, text string, e pipeline.Event, project, video string,
	doc []byte,
) error {
	return b.exec(ctx, text, video, int64(e.Sequence), project, string(e.Type), string(doc))
}

// deletionMemory is how long a deletion is kept, for readers of events that were away.
const deletionMemory = 90 * 24 * time.Hour

// putDeletion stores the deletion of a video, and forgets some of those that are older than deletionMemory:
// by the times of the events, so that a catalog which is made anew has the same ones.
func (b *batch) putDeletion(ctx context.Context, e pipeline.Event, project, video string, doc []byte) error {
	if err := b.put(ctx, sqlPutDeletion, e, project, video, doc); err != nil {
		return err
	}
	rows, err := b.stmt(ctx, sqlOldDeletions).QueryContext(ctx)
	if err != nil {
		return err
	}
	last, err := lastBefore(rows, e.Time.Add(-deletionMemory))
	if err != nil || last == 0 {
		return err
	}
	return b.exec(ctx, sqlDropDeletions, last)
}

// lastBefore returns the sequence of the last of the first events that are older than a time; 0 when none is.
// One that cannot be read counts as old: nobody can read it later.
func lastBefore(rows *sql.Rows, at time.Time) (last int64, err error) {
	defer rows.Close()
	for rows.Next() {
		var sequence int64
		var doc string
		if err := rows.Scan(&sequence, &doc); err != nil {
			return 0, err
		}
		var e pipeline.Event
		if json.Unmarshal([]byte(doc), &e) == nil && !e.Time.Before(at) {
			break
		}
		last = sequence
	}
	return last, rows.Err()
}

func (b *batch) applyVideo(ctx context.Context, v *videoEntry, e pipeline.Event) error {
	var planned []pipeline.JobView
	if e.Type == pipeline.VideoInspected {
		v.inspected = e.Sequence
	}
	if e.Type == pipeline.VideoInspected || e.Type == pipeline.VideoOutputsRequested {
		var err error
		if planned, err = pipeline.PlannedJobs(e); err != nil {
			return poisoned{e, err}
		}
	}
	over := v.view.Status.Terminal()
	if err := v.view.Apply(e); err != nil {
		return poisoned{e, err}
	}
	if v.view.Deleted {
		return b.remove(ctx, v)
	}
	v.known, v.dirty = true, true
	for i, view := range planned {
		j, err := b.job(ctx, v, view.Name)
		if err != nil {
			return err
		}
		if j.view.ID == "" { // an earlier event of the job has told more
			*j = jobEntry{view: view, born: e.Sequence, position: i, dirty: true}
		}
	}
	switch {
	case e.Type == pipeline.VideoReopened, e.Type == pipeline.VideoOutputsReopened:
		return b.unsettle(ctx, v, pipeline.AdditionOf(e.Subject))
	case e.Type == pipeline.VideoOutputsFailed:
		return b.settle(ctx, v, e)
	// A plan that comes after the end, in a race with a cancellation, never runs.
	case over && e.Type == pipeline.VideoInspected, slices.Contains(ends, e.Type):
		return b.settle(ctx, v, e)
	}
	return nil
}

// ends are the events that end a video.
var ends = []pipeline.EventType{
	pipeline.VideoReady, pipeline.VideoErrored, pipeline.VideoRejected, pipeline.VideoCanceled,
}

// applyJob folds an event of a job and returns the job's view after it. The catalog has a job's outputs
// while the job is completed.
func (b *batch) applyJob(ctx context.Context, v *videoEntry, name string, e pipeline.Event) (
	pipeline.JobView, error,
) {
	j, err := b.job(ctx, v, name)
	if err != nil {
		return pipeline.JobView{}, err
	}
	had := j.view.Status == pipeline.StateJobCompleted
	if j.view.ID == "" {
		j.born = e.Sequence
	}
	outputs, err := j.view.Apply(e)
	if err != nil {
		return pipeline.JobView{}, poisoned{e, err}
	}
	v.view.ApplyJob(e, j.view)
	v.dirty, j.dirty = true, true
	if had {
		if err := b.dropOutputs(ctx, v, name); err != nil {
			return pipeline.JobView{}, err
		}
	}
	if e.Type != pipeline.JobCompleted {
		outputs = nil
	}
	return j.view, b.putOutputs(ctx, v, name, e, outputs)
}

func (b *batch) putOutputs(ctx context.Context, v *videoEntry, name string, e pipeline.Event,
	outputs []pipeline.Output,
) error {
	for i, o := range outputs {
		doc, err := json.Marshal(outputView(v.view.ID, name, o))
		if err != nil {
			return err
		}
		err = b.exec(ctx, sqlPutOutput, v.view.ID, name, o.Path, int64(e.Sequence), i, string(doc))
		if err != nil {
			return err
		}
		v.outputBytes += max(0, o.Size)
	}
	return nil
}

// dropOutputs removes the outputs of a job.
func (b *batch) dropOutputs(ctx context.Context, v *videoEntry, name string) error {
	rows, err := b.stmt(ctx, sqlJobOutputs).QueryContext(ctx, v.view.ID, name)
	if err != nil {
		return err
	}
	outputs, err := scanDocs[pipeline.OutputView](rows)
	if err != nil {
		return err
	}
	for _, o := range outputs {
		v.outputBytes -= max(0, o.Size)
	}
	return b.exec(ctx, sqlDropOutputs, v.view.ID, name)
}

// settle marks the jobs that are pending when their video, or their addition to it, ends.
func (b *batch) settle(ctx context.Context, v *videoEntry, e pipeline.Event) error {
	if err := b.load(ctx, v, pipeline.StateJobPending); err != nil {
		return err
	}
	for _, j := range v.jobs {
		if j.view.ID != "" && j.view.Addition == pipeline.AdditionOf(e.Subject) && j.view.Settle(e) {
			j.dirty = true
		}
	}
	return nil
}

// unsettle reverts settle, because the addition of a number, or with 0 the video itself, was reopened.
func (b *batch) unsettle(ctx context.Context, v *videoEntry, addition int) error {
	if err := b.load(ctx, v, pipeline.StateJobSkipped); err != nil {
		return err
	}
	for _, j := range v.jobs {
		if j.view.Addition == addition && j.view.Unsettle() {
			j.dirty = true
		}
	}
	return nil
}

// load reads the video's jobs in a state from the file, unless the batch has them already.
func (b *batch) load(ctx context.Context, v *videoEntry, state pipeline.JobState) error {
	rows, err := b.stmt(ctx, sqlJobsInState).QueryContext(ctx, v.view.ID, string(state))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		name, j, err := scanJob(rows)
		if err != nil {
			return err
		}
		if v.jobs[name] == nil {
			v.jobs[name] = j
		}
	}
	return rows.Err()
}

// purge replaces the statistics of a deleted video by those in video.purged: so a log that still has the
// video's events gives the same samples as one without them.
func (b *batch) purge(ctx context.Context, v *videoEntry, project, video string, e pipeline.Event) error {
	var data pipeline.Purged
	if err := e.Decode(&data); err != nil {
		return poisoned{e, err}
	}
	if v.known {
		if err := b.remove(ctx, v); err != nil {
			return err
		}
	}
	if err := b.exec(ctx, sqlDropSamples, video, project); err != nil {
		return err
	}
	for i, s := range data.Samples {
		if err := b.putSample(ctx, project, video, e.Sequence, i, s); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) putSample(ctx context.Context, project, video string, seq uint64, i int,
	s pipeline.Sample,
) error {
	return b.exec(ctx, sqlPutSample, video, int64(seq), i, project, string(s.Metric), s.At.UnixMicro(),
		s.Label, s.Value)
}

// remove deletes everything about a video except its statistics.
func (b *batch) remove(ctx context.Context, v *videoEntry) error {
	for _, text := range []string{
		sqlDropVideo, sqlDropVideoJobs, sqlDropVideoOutputs, sqlDropVideoEvents,
		sqlDropMetadata, sqlDropVideoGrams, sqlDropText, // in this order: the texts lead to the grams
	} {
		if err := b.exec(ctx, text, v.view.ID); err != nil {
			return err
		}
	}
	*v = videoEntry{jobs: map[string]*jobEntry{}}
	return nil
}
