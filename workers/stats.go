package workers

import (
	"maps"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// End is how an attempt at a job ended.
type End struct {
	Worker string
	Code   pipeline.Code // why it failed; empty when it completed
	Took   time.Duration // 0 if unknown: no attempt began, or its process is gone
}

// observe tells Config.Observe how the attempt ended; code is why it failed, empty when it completed.
func (a *attempt) observe(code pipeline.Code) {
	e := End{Worker: a.task.Job.Worker, Code: code}
	if !a.began.IsZero() && code != pipeline.CodeWorkerLost {
		e.Took = max(0, time.Since(a.began))
	}
	a.loop.Observe(e)
}

// codeOf returns the code of a problem, and CodeInternal when there is none.
func codeOf(p *pipeline.Problem) pipeline.Code {
	if p == nil {
		return pipeline.CodeInternal
	}
	return p.Code
}

// Stats is what a loop has done since it was made, by worker type. Every registered type has an entry.
type Stats map[string]Counts

// Counts is what a loop has done for one worker type.
type Counts struct {
	Running int // attempts at this moment
	Busy    int // slots that hold a task at this moment, running or about to run

	Started     int // attempts
	Completed   int // with a result that passed
	Retried     int // failed or lost, and will be tried again
	Errored     int // given up: the job has a dead letter
	Interrupted int // returned because the loop was stopped
	Dropped     int // another attempt took over, and the outputs of this one were removed
	Canceled    int // tasks and attempts that nobody wanted any more
	Waited      int // deliveries returned because the scratch disk had no room
}

// Stats returns a copy. It is safe for concurrent use.
func (l *Loop) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := maps.Clone(l.counts)
	if s == nil {
		s = Stats{}
	}
	for _, t := range l.Registry.Types() {
		s[t.Name] = l.counts[t.Name]
	}
	return s
}

// count changes the counts of a worker type.
func (l *Loop) count(worker string, change func(*Counts)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = Stats{}
	}
	c := l.counts[worker]
	change(&c)
	l.counts[worker] = c
}

func (a *attempt) count(change func(*Counts)) { a.loop.count(a.task.Job.Worker, change) }
