package bulk

import (
	"context"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// Action is what a run does with each letter.
type Action string

// The actions.
const (
	Redrive Action = "redrive" // retry the job, and remove the letter
	Discard Action = "discard" // remove the letter; the job stays errored
)

// Status is the state of a run.
type Status string

// The states. Completed and Canceled are final.
const (
	Running   Status = "running"
	Paused    Status = "paused"
	Completed Status = "completed" // each letter was acted on, or failed
	Canceled  Status = "canceled"  // the remaining letters stay
)

// Ended reports whether the state is final.
func (s Status) Ended() bool { return s == Completed || s == Canceled }

// LetterFilter selects dead letters. A field that is zero selects all.
type LetterFilter struct {
	Worker string        `json:"worker,omitempty" doc:"Worker type"`
	Code   pipeline.Code `json:"code,omitempty" doc:"Code of the error of the last attempt"`
	Video  string        `json:"video_id,omitempty"`
	After  time.Time     `json:"created_after,omitzero" required:"false" doc:"Letters of this time and later"`
	Before time.Time     `json:"created_before,omitzero" required:"false" doc:"Letters of earlier times"`
}

// Selects reports whether the filter selects a letter.
func (f LetterFilter) Selects(d pipeline.DeadLetter) bool {
	return (f.Worker == "" || f.Worker == d.Task.Job.Worker) &&
		(f.Code == "" || f.Code == d.Problem.Code) &&
		(f.Video == "" || f.Video == d.Task.Video) &&
		(f.After.IsZero() || !d.Time.Before(f.After)) &&
		(f.Before.IsZero() || d.Time.Before(f.Before))
}

// MaxFailures is how many failures a run describes; it counts all.
const MaxFailures = 20

// LetterFailure says why a letter was not acted on. The letter stays.
type LetterFailure struct {
	Letter string `json:"id" doc:"Id of the dead letter"`
	Detail string `json:"detail"`
}

// Run is a run as it is stored.
type Run struct {
	ID        string       `json:"id"` // run_ and 26 letters and digits
	Project   string       `json:"project"`
	Action    Action       `json:"action"`
	Filter    LetterFilter `json:"filter"`
	Reason    string       `json:"reason"`
	Actor     string       `json:"actor"` // who began it
	Status    Status       `json:"status"`
	CreatedAt time.Time    `json:"created_at"`
	UpdatedAt time.Time    `json:"updated_at"`
	EndedAt   *time.Time   `json:"ended_at,omitempty"`

	Total    int             `json:"total"` // letters that the filter selected when the run began
	Done     int             `json:"done"`
	Failed   int             `json:"failed"`
	Skipped  int             `json:"skipped"` // removed by others, or there was nothing to redrive
	Failures []LetterFailure `json:"failures,omitempty"`
	Waiting  string          `json:"waiting,omitempty"` // what the leader waits for

	Last    uint64 `json:"last"`              // sequence of the last letter that was selected
	Cursor  string `json:"cursor,omitempty"`  // id of the letter that was acted on last
	Current string `json:"current,omitempty"` // id of the letter that the leader acts on
	Leader  string `json:"leader,omitempty"`  // the process that leads; empty: whoever comes first

	// Revision is that of the stored document, for compare-and-swap; 0 before it is stored.
	Revision uint64 `json:"-"`
}

// Remaining returns how many letters are still to be acted on.
func (r Run) Remaining() int { return max(r.Total-r.Done-r.Failed-r.Skipped, 0) }

// adopt takes over the progress of another version of the run, which its leader has made.
func (r *Run) adopt(from Run) {
	r.Done, r.Failed, r.Skipped, r.Failures = from.Done, from.Failed, from.Skipped, from.Failures
	r.Waiting, r.Cursor, r.Current, r.Leader = from.Waiting, from.Cursor, from.Current, from.Leader
}

// Bucket stores runs; bus.Bus is one. It returns pipeline.ErrNotFound for a run that is missing or of another
// project.
type Bucket interface {
	// BulkRuns returns the runs of all projects, those written last at the end.
	BulkRuns(ctx context.Context) ([]Run, error)
	// BulkRun returns one run.
	BulkRun(ctx context.Context, project, id string) (Run, error)
	// PutBulkRun stores r after its Revision, and returns it with its new one. When somebody else wrote
	// meanwhile, it returns pipeline.ErrConflict.
	PutBulkRun(ctx context.Context, r Run) (Run, error)
	// DropBulkRun removes a run, if it is there.
	DropBulkRun(ctx context.Context, project, id string) error
}

// Letters holds the dead letters; bus.Bus is one. For a letter that is missing it returns
// pipeline.ErrNotFound.
type Letters interface {
	// DeadLetters returns at most limit letters of a project after the one with the id after, which may be gone.
	// next is empty on the last page.
	DeadLetters(ctx context.Context, project, after string, limit int) (
		letters []pipeline.DeadLetter, next string, err error)
	DeadLetterByID(ctx context.Context, project, id string) (pipeline.DeadLetter, error)
	Discard(ctx context.Context, project, id string) error
}

// View is a run as it is answered. For a dry run, it says what the run would do.
type View struct {
	ID        string          `json:"id" doc:"Empty after a dry run"`
	DryRun    bool            `json:"dry_run"`
	Action    Action          `json:"action" enum:"redrive,discard"`
	Filter    LetterFilter    `json:"filter"`
	Reason    string          `json:"reason"`
	Status    Status          `json:"status" enum:"planned,running,paused,completed,canceled" doc:"planned after a dry run"`
	Total     int             `json:"total" doc:"Letters that the filter selected"`
	Done      int             `json:"done"`
	Failed    int             `json:"failed" doc:"Letters that stay, since their jobs cannot be redriven"`
	Skipped   int             `json:"skipped" doc:"Letters that somebody else removed meanwhile, or whose jobs were retried since"`
	Remaining int             `json:"remaining"`
	Failures  []LetterFailure `json:"failures" nullable:"false" doc:"The first 20"`
	Waiting   string          `json:"waiting,omitempty" doc:"What the run waits for, in words"`
	CreatedAt *time.Time      `json:"created_at" doc:"null after a dry run"`
	UpdatedAt *time.Time      `json:"updated_at"`
	EndedAt   *time.Time      `json:"ended_at" doc:"When the run was completed or canceled; else null"`
}

// Planned is the status in the view of a dry run.
const Planned Status = "planned"

// View returns the run as it is answered.
func (r Run) View() View {
	v := View{
		ID: r.ID, Action: r.Action, Filter: r.Filter, Reason: r.Reason, Status: r.Status, Total: r.Total,
		Done: r.Done, Failed: r.Failed, Skipped: r.Skipped, Remaining: r.Remaining(), Failures: r.Failures,
		EndedAt: r.EndedAt,
	}
	if v.Failures == nil {
		v.Failures = []LetterFailure{}
	}
	if r.ID == "" {
		v.DryRun, v.Status = true, Planned
		return v
	}
	if r.Status == Running {
		v.Waiting = r.Waiting
	}
	v.CreatedAt, v.UpdatedAt = &r.CreatedAt, &r.UpdatedAt
	return v
}
