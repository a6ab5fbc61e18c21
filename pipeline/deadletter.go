package pipeline

import (
	"fmt"
	"time"
)

// DeadLetter is a task that is not retried by itself, with all that is needed to see why and to redrive it.
type DeadLetter struct {
	// ID identifies the letter to redrive or discard it; the queue sets it when it reads the letter.
	ID string `json:"id,omitempty"`
	// Sequence orders the letters by age; the queue sets it when it reads the letter.
	Sequence uint64            `json:"-"`
	Task     Task              `json:"task"`
	Subject  string            `json:"subject"` // of the task message
	Headers  map[string]string `json:"headers,omitempty"`
	Problem  Problem           `json:"problem"`
	Attempts int               `json:"attempts"`
	Token    uint64            `json:"token"` // the sequence of the job.errored event
	Time     time.Time         `json:"time"`
	// Raw is the unchanged message when it was not a task. Task is zero then, and the letter cannot be redriven.
	Raw []byte `json:"raw,omitempty"`
}

// DeadSubject returns the subject of the letter. There is one per generation of the job, named by the event
// that ended it.
func (d DeadLetter) DeadSubject() string {
	t := d.Task
	return fmt.Sprintf("dead.%s.%s.%s.%s.%d", t.Job.Worker, t.Project, t.Video, t.Job.Name, d.Token)
}
