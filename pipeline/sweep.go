package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"
)

// VideoRef names a video.
type VideoRef struct{ Project, ID string }

// Unfinished lists open videos: those that something must still happen to.
type Unfinished interface {
	// Unfinished returns at most limit open videos that were uploaded before from or after until, in the order
	// of their ids and beginning after the id after.
	Unfinished(ctx context.Context, from, until time.Time, after string, limit int) ([]VideoRef, error)
}

// Queue knows whether a job is on its way to a worker.
type Queue interface {
	// Queued reports whether t's job has an unacknowledged task, of any cause, or a schedule.
	Queued(ctx context.Context, t Task) (bool, error)
	// Due returns when the schedule of t's job is due; the zero time when there is none.
	Due(ctx context.Context, t Task) (time.Time, error)
	// Schedule makes t due at a time, in place of the schedule of its job.
	Schedule(ctx context.Context, t Task, at time.Time) error
}

// Sweeper makes sure that no video stands still for ever. It looks at each open video whose last event is
// old: it evaluates the video, and enqueues those of its jobs that have neither a task nor a schedule. It
// holds no state but its counts, so any number of sweepers may run at once and be restarted at any time. In a
// pipeline without mistakes it never finds anything, so Repairs above 0 means that there is a mistake, that
// the queue lost a message, or that the clock was set back. What others do while it looks is no repair of its
// own. Neither is what it does before the coordinator has come to it, as after hours without a server.
//
// When the clock is set back, events are younger than no time at all, and schedules are due later than
// planned. So an event from the future counts as old, and a schedule that is due later than the delay of its
// job is brought forward.
type Sweeper struct {
	Coordinator *Coordinator
	Videos      Unfinished
	Queue       Queue
	Every       time.Duration // between rounds; 1 minute when 0
	// Age is the least age of the last event of a video for the sweeper to look at it; 2 minutes when 0. That is
	// far longer than one event takes to lead to the next, and than the clocks of machines differ.
	Age time.Duration
	// Settled returns a sequence up to which coordinators have acted on all events. What follows from a later
	// one is on its way, and doing it first is no repair. They have acted on all when nil.
	Settled func(ctx context.Context) (uint64, error)
	Now     func() time.Time // time.Now when nil
	Logger  *slog.Logger     // nothing is logged when nil

	mu      sync.Mutex
	repairs map[string]uint64
}

// The kinds of repair.
const (
	RepairEvent = "event_missed"   // nobody had acted on an event
	RepairTask  = "task_lost"      // an open job had neither task nor schedule
	RepairClock = "clock_set_back" // a schedule was due later than the delay of its job
)

// Repairs returns how often each kind of repair was made.
func (s *Sweeper) Repairs() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return map[string]uint64{
		RepairEvent: s.repairs[RepairEvent], RepairTask: s.repairs[RepairTask], RepairClock: s.repairs[RepairClock],
	}
}

// Run sweeps at once, and then each time that Every has passed, until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	every := s.Every
	if every == 0 {
		every = time.Minute
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.log().Warn("sweep", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *Sweeper) log() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}

// sweepPage is how many videos are listed at once.
const sweepPage = 100

// Sweep makes one round. It returns the errors of all videos that it could not sweep; the next round tries
// them again.
func (s *Sweeper) Sweep(ctx context.Context) error {
	young, after := s.young(), ""
	settled, failed := s.settled(ctx)
	if failed != nil {
		return failed
	}
	for {
		page, err := s.Videos.Unfinished(ctx, young.from, young.until, after, sweepPage)
		if err != nil {
			return errors.Join(failed, fmt.Errorf("list unfinished videos: %w", err))
		}
		for _, v := range page {
			if err := s.look(ctx, v, young, settled); err != nil {
				failed = errors.Join(failed, fmt.Errorf("sweep video %s: %w", v.ID, err))
			}
		}
		if len(page) < sweepPage {
			return failed
		}
		after = page[len(page)-1].ID
	}
}

func (s *Sweeper) settled(ctx context.Context) (uint64, error) {
	if s.Settled == nil {
		return math.MaxUint64, nil
	}
	sequence, err := s.Settled(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask what coordinators have acted on: %w", err)
	}
	return sequence, nil
}

// youth is a range of time: events in it are so young that what follows from them may still be under way.
type youth struct{ from, now, until time.Time }

// young returns the present youth. Clocks of machines differ, so it reaches as far into the future as into
// the past. An event after it was written before the clock was set back.
func (s *Sweeper) young() youth {
	age, now := s.Age, time.Now
	if age == 0 {
		age = 2 * time.Minute
	}
	if s.Now != nil {
		now = s.Now
	}
	at := now()
	return youth{at.Add(-age), at, at.Add(age)}
}

func (y youth) has(t time.Time) bool { return !t.Before(y.from) && !t.After(y.until) }

// look repairs a video if its last event is not young and something is wrong with it.
func (s *Sweeper) look(ctx context.Context, ref VideoRef, young youth, settled uint64) error {
	v, err := Fold(ctx, s.Coordinator.Log, ref.Project, ref.ID)
	if err != nil {
		return err
	}
	at := v.last()
	if at.Sequence == 0 || young.has(at.Time) {
		return nil
	}
	if err := s.hasten(ctx, v, young); err != nil {
		return err
	}
	lost, err := s.lost(ctx, v)
	if err != nil {
		return err
	}
	late := v.latest(func(e Event) bool { return Leads(e.Type) }).Sequence <= settled
	acted, err := s.act(ctx, v)
	if err != nil {
		return err
	}
	if acted && late && len(lost) == 0 {
		s.repaired(RepairEvent, ref, "")
	}
	again, err := Fold(ctx, s.Coordinator.Log, ref.Project, ref.ID)
	if err != nil || again.last().Sequence != at.Sequence {
		return err // it moves again
	}
	for _, t := range lost {
		if err := s.Coordinator.Tasks.Enqueue(ctx, t); err != nil {
			return err
		}
		if late {
			s.repaired(RepairTask, ref, t.Job.Name)
		}
	}
	return nil
}

// act does what follows from a fold, and reports whether an event was missing. It takes the fold as it is:
// what follows from later events others do. When one of them was faster, nothing was missing.
func (s *Sweeper) act(ctx context.Context, v *Video) (acted bool, err error) {
	log := &appends{Log: s.Coordinator.Log}
	c := *s.Coordinator
	c.Log = log
	err = c.react(ctx, v)
	if errors.Is(err, ErrConflict) {
		return false, nil
	}
	return log.done, err
}

// appends is a log that knows whether an event was appended through it.
type appends struct {
	Log
	done bool
}

// Append implements Log.
func (l *appends) Append(ctx context.Context, e Event, after uint64) (uint64, error) {
	sequence, err := l.Log.Append(ctx, e, after)
	l.done = l.done || err == nil
	return sequence, err
}

// lost returns the tasks that are missing in the queue. Of the planned jobs that have not begun, it looks
// only at those in the smallest window: the others may be waiting for their turn, and the evaluation enqueues
// them when it comes.
func (s *Sweeper) lost(ctx context.Context, v *Video) ([]Task, error) {
	var lost []Task
	due, err := v.due(s.Coordinator.PublicURL)
	if err != nil {
		return nil, err
	}
	turns := v.allTurns(func(string) int { return LeastWindow })
	for _, t := range due {
		_, planned := v.Jobs[t.Job.Name]
		if planned && !slices.ContainsFunc(turns, func(j Job) bool { return j.Name == t.Job.Name }) {
			continue
		}
		queued, err := s.Queue.Queued(ctx, t)
		if err != nil {
			return nil, err
		}
		if !queued {
			lost = append(lost, t)
		}
	}
	return lost, nil
}

// hasten brings forward the schedules of a video that are due later than the delay that their event planned.
// The delay is the difference of two times of one clock, so it is right whatever the clock says now.
func (s *Sweeper) hasten(ctx context.Context, v *Video, young youth) error {
	open, err := v.owed(s.Coordinator.PublicURL)
	if err != nil {
		return err
	}
	for _, j := range open {
		f, err := FoldJob(j.last)
		if err != nil {
			return err
		}
		if f.State != StateJobRetrying || f.Data.RetryAt == nil {
			continue
		}
		delay, t := max(0, f.Data.RetryAt.Sub(j.last.Time)), v.task(j.Job, j.last, j.last)
		at, err := s.Queue.Due(ctx, t)
		if err != nil {
			return err
		}
		if !at.After(young.until.Add(delay)) {
			continue
		}
		if err := s.Queue.Schedule(ctx, t, young.now.Add(delay)); err != nil {
			return err
		}
		s.repaired(RepairClock, VideoRef{t.Project, t.Video}, t.Job.Name)
	}
	return nil
}

func (s *Sweeper) repaired(kind string, v VideoRef, job string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.repairs == nil {
		s.repairs = map[string]uint64{}
	}
	s.repairs[kind]++
	s.log().Error("the sweeper repaired a video that stood still; this is a bug, or the queue lost a message, "+
		"or the clock was set back",
		"kind", kind, "video", v.ID, "project", v.Project, "job", job)
}

// last returns the last event of the fold; the zero event when there is none.
func (v *Video) last() Event { return v.latest(func(Event) bool { return true }) }

// latest returns the last event of the fold that is one of those; the zero event when there is none.
func (v *Video) latest(those func(Event) bool) (last Event) {
	for _, e := range []Event{
		v.Uploaded, v.Inspected, v.Playable, v.Finished, v.Reopened, v.Deleted, v.Fetch.Last, v.Inspect.Last,
		v.Notify.Last, v.NotifyPlayable.Last,
	} {
		if e.Sequence > last.Sequence && those(e) {
			last = e
		}
	}
	for _, f := range v.Jobs {
		if f.Last.Sequence > last.Sequence && those(f.Last) {
			last = f.Last
		}
	}
	for _, a := range v.Additions {
		for _, e := range []Event{a.Requested, a.Last} {
			if e.Sequence > last.Sequence && those(e) {
				last = e
			}
		}
	}
	return last
}

// owed returns the jobs that must be in the queue or with a worker. public is Coordinator.PublicURL.
func (v *Video) owed(public string) (open []openJob, err error) {
	if v.Uploaded.Sequence == 0 || v.Deleted.Sequence != 0 {
		return nil, nil
	}
	if v.Finished.Sequence == 0 {
		open = v.openJobs()
	}
	for i := range v.Additions {
		if a := &v.Additions[i]; a.open() {
			open = append(open, v.part(a).openJobs()...)
		}
	}
	telling, err := v.openNotify(public)
	return append(open, telling...), err
}

// due returns the tasks of the jobs that are owed.
func (v *Video) due(public string) ([]Task, error) {
	open, err := v.owed(public)
	if err != nil {
		return nil, err
	}
	due := make([]Task, len(open))
	cause := v.Uploaded
	for i, j := range open {
		switch {
		case j.cause.Sequence != 0:
			cause = j.cause
		case len(j.After) > 0:
			cause = v.unblockedBy(j.Job)
		}
		due[i] = v.task(j.Job, j.last, cause)
	}
	return due, nil
}
