package workers

import (
	"context"
	"log/slog"

	"github.com/reelmill/reelmill/pipeline"
)

// Worker makes one kind of output. P is its parameter struct: the `with` of a pipeline step decodes into it,
// and its JSON Schema (by json, doc, enum, minimum, maximum, default tags) is derived from it and validates
// `with` before P is decoded; a field whose json tag has no omitempty must be given. The zero P must be
// usable: defaults are a worker's own.
type Worker[P any] interface {
	// Plan says which jobs the worker makes of media: pure, so the same arguments give the same jobs. It returns
	// jobs named by part (empty for a single job), with edges, priority, weight and part data; the pipeline adds
	// step, worker, and parameters. No job at all is a fine answer: an audio worker plans none for a silent
	// video.
	Plan(params P, media pipeline.Media) ([]pipeline.Job, error)

	// Work does one job. It reads through job.Input, job.Asset and job.Fetch, writes below job.Dir, verifies
	// what it made, and publishes it by job.Publish. It returns soon after ctx ends. Its error says what happens
	// next: a *pipeline.Error by the class of its code, any other is transient.
	Work(ctx context.Context, job Job[P]) (pipeline.Result, error)
}

// Checker is an extra ability of a worker: Check reports what the worker misses on this machine, such as a
// program or an encoder, with the remedy. It is called at start and by `reelmill doctor`.
type Checker interface {
	Check(ctx context.Context) error
}

// Slotter is an extra ability of a worker: Slots says how many attempts a process makes at once by default,
// on so many cores. Without it, it is half the cores and at least 1: an encoder keeps more than one core
// busy.
type Slotter interface {
	Slots(cores int) int
}

// defaultSlots is Slots of a worker that is no Slotter.
func defaultSlots(cores int) int { return max(1, cores/2) }

// Job is one attempt at one job, as a worker sees it.
type Job[P any] struct {
	Params P
	Attempt
}

// Attempt is the part of a Job that does not depend on the worker's type.
type Attempt struct {
	Task    pipeline.Task
	Token   uint64                     // fences what this attempt writes; never reused
	Number  int                        // of the attempt, from 1
	Results map[string]pipeline.Result // of the jobs this one is `after`, by name
	Dir     string                     // scratch of this attempt alone; removed when it ends
	Log     *slog.Logger

	files    Files
	progress func(pipeline.Progress)
}

// Files is what an attempt reads and writes objects through.
type Files interface {
	// Local returns a path where the object can be read: its place in a local store, or a copy below dir.
	Local(ctx context.Context, key, dir string) (string, error)
	// Upload stores the file at path under key, and returns its size in bytes and SHA-256 in hex.
	Upload(ctx context.Context, key, path string) (size int64, sha256 string, err error)
}

// NewAttempt returns an attempt on files; progress may be nil. The worker loop and the conformance kit make
// them.
func NewAttempt(a Attempt, files Files, progress func(pipeline.Progress)) Attempt {
	a.files, a.progress = files, progress
	if a.Log == nil {
		a.Log = slog.New(slog.DiscardHandler)
	}
	return a
}
