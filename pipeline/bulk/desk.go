package bulk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// Desk begins, shows and steers runs, for whoever asks.
type Desk struct {
	Bucket  Bucket
	Letters Letters
	// Wake tells the Runner of this process that there is work. May be nil: it looks by itself.
	Wake func()
}

// sampleSize is how many letters Plan returns.
const sampleSize = 10

// pageSize is how many letters are read at once.
const pageSize = 100

// Plan returns r with its Total, as Start would store it, and the first ten letters that it selects. It
// changes nothing. It reads every letter of the project, with a request for each.
func (d *Desk) Plan(ctx context.Context, r Run) (Run, []pipeline.DeadLetter, error) {
	r.Total, r.Last = 0, 0
	var sample []pipeline.DeadLetter
	for after := ""; ; {
		letters, next, err := d.Letters.DeadLetters(ctx, r.Project, after, pageSize)
		if err != nil {
			return r, nil, err
		}
		for _, l := range letters {
			if !r.Filter.Selects(l) {
				continue
			}
			if len(sample) < sampleSize {
				sample = append(sample, l)
			}
			r.Total, r.Last = r.Total+1, l.Sequence
		}
		if next == "" {
			return r, sample, nil
		}
		after = next
	}
}

// Start plans r and stores it. A run that selects no letter is completed at once.
func (d *Desk) Start(ctx context.Context, r Run) (Run, []pipeline.DeadLetter, error) {
	r, sample, err := d.Plan(ctx, r)
	if err != nil {
		return r, nil, err
	}
	r.ID, r.Actor, r.Status = pipeline.NewID("run"), pipeline.ActorOf(ctx), Running
	r.CreatedAt = time.Now().UTC()
	r.UpdatedAt = r.CreatedAt
	if r.Total == 0 {
		r.Status, r.EndedAt = Completed, &r.CreatedAt
	}
	if r, err = d.Bucket.PutBulkRun(ctx, r); err != nil {
		return r, nil, err
	}
	d.wake()
	return r, sample, nil
}

func (d *Desk) wake() {
	if d.Wake != nil {
		d.Wake()
	}
}

// Runs returns the runs of a project, the newest first.
func (d *Desk) Runs(ctx context.Context, project string) ([]Run, error) {
	all, err := d.Bucket.BulkRuns(ctx)
	runs := []Run{}
	for _, r := range all {
		if r.Project == project {
			runs = append(runs, r)
		}
	}
	slices.SortFunc(runs, func(a, b Run) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return runs, err
}

// Run returns a run of a project.
func (d *Desk) Run(ctx context.Context, project, id string) (Run, error) {
	return d.Bucket.BulkRun(ctx, project, id)
}

// Set pauses, resumes or cancels a run: status is Paused, Running or Canceled. Doing it again changes
// nothing. pipeline.ErrState: the run has ended otherwise.
func (d *Desk) Set(ctx context.Context, project, id string, status Status) (Run, error) {
	for range maxConflicts {
		r, err := d.Bucket.BulkRun(ctx, project, id)
		if err != nil || r.Status == status {
			return r, err
		}
		if r.Status.Ended() {
			return r, fmt.Errorf("the run is %s: %w", r.Status, pipeline.ErrState)
		}
		r.Status, r.UpdatedAt = status, time.Now().UTC()
		if status == Canceled {
			r.EndedAt = &r.UpdatedAt
		}
		r, err = d.Bucket.PutBulkRun(ctx, r)
		if errors.Is(err, pipeline.ErrConflict) {
			continue // the leader was faster
		}
		if err == nil {
			d.wake()
		}
		return r, err
	}
	return Run{}, pipeline.ErrConflict
}

// maxConflicts limits how often a write is tried against others. The leader writes for each letter.
const maxConflicts = 50
