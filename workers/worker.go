package workers

import (
	"context"

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

// Declarer is an extra ability of a worker: Traits declares what the pipeline must know of it, such as that
// it hides the source or takes a file of the upload. A worker without it has the zero Traits.
type Declarer interface {
	Traits() pipeline.Traits
}

// defaultSlots is Slots of a worker that is no Slotter.
func defaultSlots(cores int) int { return max(1, cores/2) }
