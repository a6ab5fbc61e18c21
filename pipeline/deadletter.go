package pipeline

import (
	"fmt"
	"time"
)

// DeadLetter is a task that nothing tries again by itself, with all that is needed to see why and to redrive
// it.
type DeadLetter struct {
	// ID names the letter to those who redrive or discard it; set by the queue when it is read.
	ID       string            `json:"id,omitempty"`
	Task     Task              `json:"task"`
	Subject  string            `json:"subject"` // of the task message
	Headers  map[string]string `json:"headers,omitempty"`
	Problem  Problem           `json:"problem"`
	Attempts int               `json:"attempts"`
	Token    uint64            `json:"token"` // the sequence of the job.errored event
	Time     time.Time         `json:"time"`
	// Raw is a message that was no task, unchanged. Task is zero then, and nobody can redrive the letter.
	Raw []byte `json:"raw,omitempty"`
}

// DeadSubject is the subject of the letter: one per generation of the job, named by the event that ended it.
func (d DeadLetter) DeadSubject() string {
	t := d.Task
	return fmt.Sprintf("dead.%s.%s.%s.%s.%d", t.Job.Worker, t.Project, t.Video, t.Job.Name, d.Token)
}
