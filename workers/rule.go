package workers

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// action is what the attempt rule decides for a delivered task.
type action int

const (
	drop   action = iota // acknowledge: there is nothing to do, or another message takes care of it
	letter               // store the dead letter of the errored job again, then acknowledge
	rearm                // store the retry timer again, then acknowledge
	spend                // no attempt is left: the job becomes errored
	shelve               // the job was lost again: let others go first, and try later
	run                  // begin an attempt
)

// decide is the attempt rule up to the start of work. A task message is valid only for the state of the job
// for which it was made; cause is the sequence of that state's event. me is the sequence of the message, and
// last the current state of the job.
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
		// else this very message started or interrupted it: its own lease ran out, or it was returned
	}
	switch lost := attemptsLost(last); {
	case lost >= maxLost:
		return spend
	case lost >= shelveAfter && last.State == pipeline.StateJobProcessing:
		return shelve
	}
	return run
}

// shelveAfter is how many attempts at a job must be lost before it has to wait. A process that dies ends all
// its attempts, and nobody can know which of them caused that. So a job that is lost repeatedly waits longer
// each time. If it is only unlucky, it no longer runs at each kill. If it is the cause, the others can run in
// the meantime.
const shelveAfter = 3

// shelfTime returns how long a job waits after its lost-th loss: 2 s, doubled each time, 5 minutes at most.
func shelfTime(lost int) time.Duration {
	return min(2*time.Second<<min(lost-shelveAfter, 16), 5*time.Minute)
}

// attemptsLost counts the attempts that ended without an outcome. An attempt that is running by last counts,
// too: its message was delivered again.
func attemptsLost(last pipeline.JobFold) int {
	if last.State == pipeline.StateJobProcessing {
		return last.Data.Lost + 1
	}
	return last.Data.Lost
}

// begun returns the data of the job.started event that follows last. If the attempt must run alone, the data
// says why, so that the next attempt runs alone too, however this one ends.
func begun(task pipeline.Task, last pipeline.JobFold, me uint64, process string) pipeline.JobEvent {
	data := pipeline.JobEvent{
		Job: task.Job.Name, Step: task.Job.Step, Worker: task.Job.Worker, Process: process,
		Attempt: last.Data.Attempt + 1, Failed: last.Data.Failed, Lost: attemptsLost(last), Owner: me,
		Generation: last.Data.Generation, Failure: last.Data.Failure,
	}
	if alone(last.Data.Problem) {
		data.Problem = last.Data.Problem
	}
	return data
}

// alone reports whether the attempt after one that ended with p runs alone in its process: it may have
// crashed the process, or its encoder got too little memory.
func alone(p *pipeline.Problem) bool {
	return crashed(p) || p != nil && p.Code == pipeline.CodeOutOfMemory
}

// crashed reports whether p says that the process crashed while the attempt ran.
func crashed(p *pipeline.Problem) bool { return p != nil && p.Code == pipeline.CodeWorkerCrashed }

// defaultRetry holds the delays before attempts 2 to 5.
var defaultRetry = []pipeline.Seconds{2, 10, 60, 300}

// crashAttempts is how many attempts a job gets if its encoder crashes. A job that crashes the whole
// process or runs out of memory gets one attempt alone: see attempt.failed.
const crashAttempts = 2

// made marks an error that the worker returned. Errors of the loop, such as of the log or of the store in the
// gate, are not marked.
type made struct{ error }

// Unwrap returns the error within.
func (m made) Unwrap() error { return m.error }

// maxFailure bounds JobEvent.Failure, in bytes.
const maxFailure = 300

// volatile matches the parts of an error that differ between attempts that fail in the same way: addresses
// and the attempt's folder.
var volatile = regexp.MustCompile(`0x[0-9a-fA-F]+|/[^ :]*/`)

// failure names why an attempt failed; empty if another attempt may succeed. Only an output that fails
// verification points to the source or to a bug, and a damaged source that has the same sum again was stored
// so. All other failures that are retried (a disk, a store, a lost worker, a timeout, an error without a
// code) are the machine's fault, however often they occur. Numbers are part of the name: they say where the
// fault was.
func failure(cause error, p *pipeline.Problem) string {
	var own made
	if !errors.As(cause, &own) || p.Code != pipeline.CodeVerification && p.Code != pipeline.CodeSourceDamaged {
		return ""
	}
	name := string(p.Code) + ": " + volatile.ReplaceAllString(p.Detail, "")
	return strings.ToValidUTF8(name[:min(len(name), maxFailure)], "")
}

// again makes p final: a failure that occurs twice in the same way is not transient.
func again(p *pipeline.Problem) {
	p.Class, p.Retryable = pipeline.Bug, false
	p.Detail += " (two attempts in a row)"
}

// nextTry returns the delay before the next attempt; problem was failure number failed. ok is false if there
// is no next attempt. Delays vary by a fifth at random, so that jobs that failed together are not retried
// together.
func nextTry(job pipeline.Job, problem *pipeline.Problem, failed int) (delay time.Duration, ok bool) {
	delays := job.Retry
	if len(delays) == 0 {
		delays = defaultRetry
	}
	switch {
	case !problem.Retryable, failed > len(delays):
		return 0, false
	case failed >= crashAttempts && problem.Code == pipeline.CodeEncoderCrashed:
		return 0, false
	}
	return time.Duration(float64(delays[failed-1].Duration()) * (0.8 + 0.4*rand.Float64())), true
}
