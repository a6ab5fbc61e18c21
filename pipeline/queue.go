package pipeline

import (
	"encoding/json"
	"time"
)

// Pause says that the tasks of a worker type are not taken for now.
type Pause struct {
	Reason string    `json:"reason"` // for people; may be empty
	Since  time.Time `json:"since"`
}

// WorkerQueue is the tasks of one worker type, and who runs it.
type WorkerQueue struct {
	Worker  string           // worker type
	Tasks   map[Priority]int // waiting or taken; a missing priority has none
	Taken   int              // with a process
	Oldest  time.Time        // when the oldest task that was never taken was enqueued; zero when none waits
	Pause   *Pause           // nil: the queue is not paused
	Running []Runner         // the processes that run the type
}

// Runner is a process that runs a worker type.
type Runner struct {
	Process string
	Version string
	Slots   int             // jobs of the type at once
	Schema  json.RawMessage // of the type's parameters; may be nil
}

// Waiting returns how many tasks nobody has taken.
func (q WorkerQueue) Waiting() int {
	n := 0
	for _, tasks := range q.Tasks {
		n += tasks
	}
	return max(n-q.Taken, 0)
}

// Slots returns how many jobs of the type run at once at most.
func (q WorkerQueue) Slots() int {
	n := 0
	for _, r := range q.Running {
		n += r.Slots
	}
	return n
}

// PaceWindow is how far back the pace of a queue looks.
const PaceWindow = 15 * time.Minute

// Pace is how fast the jobs of a worker type were completed in the last PaceWindow.
type Pace struct {
	Completed int       // jobs
	First     time.Time // when the first of them was completed
}

// EstimatedWait returns how long a task that is enqueued now will wait for a process, if jobs go on to be
// completed at the pace p:
//
//	wait = Waiting / rate, with rate = (p.Completed - 1) / (now - p.First)
//
// So the rate is that since the first completion in the window: an idle time before it does not count. The
// wait is 0 when nothing waits. It is unknown, and ok is false, while the queue is paused or nobody runs the
// worker type, and before two jobs were completed in the window.
//
// It is an estimate for the priorities together: a task of high priority waits less, one of bulk more. It is
// too long for a while after an idle time within the window.
func (q WorkerQueue) EstimatedWait(p Pace, now time.Time) (wait time.Duration, ok bool) {
	waiting, since := q.Waiting(), now.Sub(p.First)
	switch {
	case q.Pause != nil || len(q.Running) == 0:
		return 0, false
	case waiting == 0:
		return 0, true
	case p.Completed < 2 || since <= 0:
		return 0, false
	}
	return time.Duration(float64(waiting) * float64(since) / float64(p.Completed-1)), true
}
