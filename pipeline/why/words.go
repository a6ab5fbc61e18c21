package why

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// detail is the reason in words.
func (x *explainer) detail(w WaitingJob, place pipeline.Place, known bool) string {
	switch w.Reason {
	case Blocked:
		return w.Job + " waits for " + enumerate(w.BlockedBy)
	case WorkerMissing:
		return "nobody runs the worker type " + w.Worker + ": start a worker that has it"
	case Stalled:
		return w.Job + " is neither queued nor scheduled: the sweeper will enqueue it within three minutes"
	case Paused:
		p := x.facts.Pauses[w.Worker]
		text := "the queue of " + w.Worker + " has been paused since " + pipeline.Clock(p.Since)
		if p.Reason != "" {
			text += " (" + p.Reason + ")"
		}
		return text + ": resume it"
	case Limited:
		return fmt.Sprintf("%s waits, since encodes_at_once of the project is %d, and so many of its %s jobs run",
			w.Job, place.Limit, w.Worker)
	case Running:
		text := w.Job + " has run for " + span(x.now.Sub(w.Since))
		if w.Process != nil {
			text += " on " + *w.Process
		}
		if w.Progress != nil {
			text += ", " + strconv.Itoa(*w.Progress) + " %"
		}
		return text
	case Retrying:
		text := w.Job + " failed"
		if w.Problem != nil {
			text += " (" + w.Problem.Error() + ")"
		}
		return text + " and is tried again in " + span(w.RetryAt.Sub(x.now)) + ", " + x.nextAttempt(w)
	}
	switch {
	case w.Position != nil && *w.Position == 1:
		return w.Job + " is next of its project in the queue of " + w.Worker
	case w.Position != nil:
		return w.Job + " is the " + ordinal(*w.Position) + " of its project in the queue of " + w.Worker
	case x.facts.last[w.Job].kind == pipeline.JobInterrupted:
		return w.Job + " was given back unfinished, and is soon taken again"
	case place.Taken:
		return w.Job + " is with a worker of " + w.Worker + ", which is about to begin"
	case known:
		return w.Job + " is about to be queued"
	}
	return w.Job + " waits for a worker of " + w.Worker
}

// nextAttempt returns "attempt 3 of 5", or "attempt 3" if the job does not say how many attempts there are.
func (x *explainer) nextAttempt(w WaitingJob) string {
	text := "attempt " + strconv.Itoa(w.Attempt+1)
	i := slices.IndexFunc(x.facts.Tasks, func(t pipeline.Task) bool { return t.Job.Name == w.Job })
	last, ok := x.facts.last[w.Job]
	if i < 0 || !ok || len(x.facts.Tasks[i].Job.Retry) == 0 {
		return text
	}
	left := len(x.facts.Tasks[i].Job.Retry) + 1 - last.data.Failed
	return text + " of " + strconv.Itoa(w.Attempt+max(1, left))
}

// summary returns the most telling detail of the jobs, or the end of the video, and then what its webhooks
// wait for, which delay nothing.
func (x *explainer) summary(all []WaitingJob) string {
	var jobs, webhooks []WaitingJob
	for _, j := range all {
		if x.jobs[j.Job].Step == pipeline.NotifyStep {
			webhooks = append(webhooks, j)
		} else {
			jobs = append(jobs, j)
		}
	}
	text := x.standing(jobs)
	for _, j := range webhooks {
		text += "; " + j.Detail
	}
	return text
}

// standing is the summary without webhooks.
func (x *explainer) standing(jobs []WaitingJob) string {
	if x.view.Status.Terminal() {
		text := "it is " + string(x.view.Status)
		if x.view.FinishedAt != nil {
			text = "it has been " + string(x.view.Status) + " since " + pipeline.Clock(*x.view.FinishedAt)
		}
		if x.view.Problem != nil {
			text += " (" + x.view.Problem.Error() + ")"
		}
		if len(jobs) > 0 {
			text += "; of what is added to it, " + telling(jobs)
		}
		return text
	}
	if len(jobs) == 0 {
		return "every planned job has ended: the next step is about to follow"
	}
	return telling(jobs)
}

// telling returns the most telling detail of some jobs, and how many others there are.
func telling(jobs []WaitingJob) string {
	first := slices.MinFunc(jobs, func(a, b WaitingJob) int {
		return slices.Index(reasons, a.Reason) - slices.Index(reasons, b.Reason)
	})
	switch others := len(jobs) - 1; others {
	case 0:
		return first.Detail
	case 1:
		return first.Detail + "; 1 other job has not ended"
	default:
		return fmt.Sprintf("%s; %d other jobs have not ended", first.Detail, others)
	}
}

// enumerated is how many names are written out.
const enumerated = 3

func enumerate(names []string) string {
	if len(names) <= enumerated {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:enumerated], ", ") + fmt.Sprintf(" and %d more", len(names)-enumerated)
}

// ordinal is 2nd, 3rd, 11th.
func ordinal(n int) string {
	suffix := "th"
	if n/10%10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}

// span is a duration for people: 58 s, 3 min 5 s, 2 h 10 min.
func span(d time.Duration) string {
	s := int(max(0, d.Round(time.Second)) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	}
	return fmt.Sprintf("%d h %d min", s/3600, s/60%60)
}

// givenUp returns a note for each webhook that is no longer tried: how often it was tried, and the last
// answer of its receiver.
func givenUp(jobs []pipeline.JobView) []string {
	var notes []string
	for _, j := range jobs {
		if j.Step == pipeline.NotifyStep && j.Status == pipeline.StateJobErrored && j.Problem != nil {
			notes = append(notes, fmt.Sprintf(
				"%s was given up after %s (%s): `reelmill jobs retry %s` tries again",
				j.Name, attempts(j.Attempt), j.Problem.Error(), j.ID))
		}
	}
	return notes
}

func attempts(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return strconv.Itoa(n) + " attempts"
}
