package workers

import (
	"context"

	"github.com/reelmill/reelmill/pipeline"
)

// Worker makes one kind of output. P is its parameter struct, into which the `with` of a pipeline step is
// decoded. A JSON Schema is derived from P (tags json, doc, enum, minimum, maximum, default) and validates
// `with` first; a field whose json tag has no omitempty is required. The zero P must be usable: the worker
// applies its defaults itself.
type Worker[P any] interface {
	// Plan returns the worker's jobs for media. It is pure: the same arguments give the same jobs.
	// Jobs are named by part (empty for a single job) and have edges, priority, weight and part data; the
	// pipeline adds step, worker and parameters. Plan may return no job: an audio worker has none for a silent
	// video.
	Plan(params P, media pipeline.Media) ([]pipeline.Job, error)

	// Work does one job. It reads through job.Input, job.Asset and job.Fetch, writes below job.Dir, verifies
	// what it wrote, and publishes it with job.Publish. It returns soon after ctx ends. Its error decides what
	// happens next: a *pipeline.Error by the class of its code; any other is transient.
	Work(ctx context.Context, job Job[P]) (pipeline.Result, error)
}

// Checker is an optional interface of a worker that needs something of its machine.
type Checker interface {
	// Check returns an error that says what is missing, such as a program or an encoder, and how to get it. A
	// worker process calls it when it starts, and `reelmill doctor` does.
	Check(ctx context.Context) error
}

// Slotter is an optional interface of a worker. Without it the default is half the cores and at least 1,
// because an encoder keeps more than one core busy.
type Slotter interface {
	// Slots returns how many attempts a process runs at once by default, given the number of cores.
	Slots(cores int) int
}

// Declarer is an optional interface of a worker. A worker without it has the zero Traits.
type Declarer interface {
	// Traits returns what the pipeline must know of the worker, such as that it hides the source or takes a
	// file of the upload.
	Traits() pipeline.Traits
}

// Describer is an optional interface of a worker.
type Describer interface {
	// Describe says what a job that Plan made for media is to do. It is pure, as Plan is. Its error has
	// CodeParameters if the job is not one that Plan makes.
	Describe(job pipeline.Job, media pipeline.Media) (Description, error)
}

// Mover is an optional interface of a worker that gave a kind of its jobs to another type. Logs and queues
// still hold such jobs, planned by an earlier version.
type Mover interface {
	// Moved returns such a job as a job of the other type; ok is false for a job that is the worker's own.
	Moved(job pipeline.Job) (moved pipeline.Job, ok bool)
}

// defaultSlots returns the slots of a worker that is not a Slotter.
func defaultSlots(cores int) int { return max(1, cores/2) }
