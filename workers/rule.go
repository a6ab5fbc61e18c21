package workers

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// action is what the attempt rule makes of a delivered task.
type action int

const (
	drop   action = iota // acknowledge: there is nothing to do, or another message does it
	letter               // store the dead letter of the errored job again, then acknowledge
	rearm                // store the retry timer again, then acknowledge
	spend                // no attempt is left: the job becomes errored
	shelve               // it was lost again: let others go first, and try later
	run                  // begin an attempt
)

// decide is the attempt rule up to the start of work: a task message is valid only for the state it was made
// for. me is the message's own stream sequence, cause the state it was made for, last the job's last event.
func decide(me, cause uint64, last pipeline.JobFold, maxLost int) action {
	switch last.State {
	case pipeline.StateJobCompleted, pipeline.StateJobCanceled:
		return drop
	case pipeline.StateJobErrored:
		return letter
	}
	if cause != last.Last.Sequence {
		if last.Data.Owner != me {
			return drop // a stale duplicate never touches a live run
		}
		if last.State == pipeline.StateJobRetrying {
			return rearm // the timer was stored, or not; the acknowledgement was lost
		}
		// else started or interrupted by this very message: its own lease ran out, or it was given back
	}
	switch lost := attemptsLost(last); {
	case lost >= maxLost:
		return spend
	case lost >= shelveAfter && last.State == pipeline.StateJobProcessing:
		return shelve
	}
	return run
}

// shelveAfter is how many lost attempts a job may have and still be begun at once. A process that dies
// takes all its jobs with it, and which of them is to blame cannot be known. What is lost again and again
// waits longer each time: a job that is only unlucky, always first in the queue when the process is killed,
// gets out of the way of the kills, and one that is to blame cannot take the others down with it for long.
const shelveAfter = 3

// shelfTime is how long a job waits that was lost for the lost-th time: 2 s, doubled each time, 5 minutes at
// most.
func shelfTime(lost int) time.Duration {
	return min(2*time.Second<<min(lost-shelveAfter, 16), 5*time.Minute)
}

// attemptsLost counts the attempts that ended without a word, a start that this delivery finds unfinished
// included.
func attemptsLost(last pipeline.JobFold) int {
	if last.State == pipeline.StateJobProcessing {
		return last.Data.Lost + 1
	}
	return last.Data.Lost
}

// begun returns the data of the job.started event that follows last. That of an attempt which must run alone
// says why, so that the one after it runs alone too, however this one ends.
func begun(task pipeline.Task, last pipeline.JobFold, me uint64, process string) pipeline.JobEvent {
	data := pipeline.JobEvent{
		Job: task.Job.Name, Step: task.Job.Step, Worker: task.Job.Worker, Process: process,
		Attempt: last.Data.Attempt + 1, Failed: last.Data.Failed, Lost: attemptsLost(last), Owner: me,
		Generation: last.Data.Generation, Failure: last.Data.Failure,
	}
	if crashed(last.Data.Problem) {
		data.Problem = last.Data.Problem
	}
	return data
}

// crashed reports whether p is that the process came down while the attempt ran.
func crashed(p *pipeline.Problem) bool { return p != nil && p.Code == pipeline.CodeWorkerCrashed }

// defaultRetry holds the delays before attempts 2 to 5.
var defaultRetry = []pipeline.Seconds{2, 10, 60, 300}

// crashAttempts is how many attempts an input gets that brings its encoder down. One that brings the process
// down has two as well: see attempt.failed.
const crashAttempts = 2

// made is a failure of the worker's own making: what it made is not what was planned. Failures of the loop,
// such as of the log or of the store behind the gate, are none.
type made struct{ error }

func (m made) Unwrap() error { return m.error }

// maxFailure bounds JobEvent.Failure, in bytes.
const maxFailure = 300

// volatile is what differs from one attempt to the next in what is else the same detail: addresses, and the
// folder of the attempt.
var volatile = regexp.MustCompile(`0x[0-9a-fA-F]+|/[^ :]*/`)

// failure names what an attempt failed of; empty when another attempt may well go otherwise. Only an output
// that is not as planned tells of the source or of a bug. Everything else that is tried again (a disk, a
// store, a worker that is lost, a time that runs out, an error without a code) is the machine's, however
// often it comes. Numbers are part of the name: they say where it was.
func failure(cause error, p *pipeline.Problem) string {
	var own made
	if !errors.As(cause, &own) || p.Code != pipeline.CodeVerification {
		return ""
	}
	name := string(p.Code) + ": " + volatile.ReplaceAllString(p.Detail, "")
	return strings.ToValidUTF8(name[:min(len(name), maxFailure)], "")
}

// again turns p into a failure that nobody tries again: it is not transient, for it came in the same way
// twice.
func again(p *pipeline.Problem) {
	p.Class, p.Retryable = pipeline.Bug, false
	p.Detail += " (two attempts in a row)"
}

// nextTry returns the delay before another attempt after problem, the failed-th failure; ok is false when
// there is to be none. Delays vary by a fifth, so that what failed together does not return together.
func nextTry(job pipeline.Job, problem *pipeline.Problem, failed int) (delay time.Duration, ok bool) {
	delays := job.Retry
	if len(delays) == 0 {
		delays = defaultRetry
	}
	switch {
	case !problem.Retryable, failed > len(delays):
		return 0, false
	case problem.Code == pipeline.CodeOutOfMemory && failed >= crashAttempts:
		return 0, false
	}
	return time.Duration(float64(delays[failed-1].Duration()) * (0.8 + 0.4*rand.Float64())), true
}
