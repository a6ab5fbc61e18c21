package bulk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// Config is what a Runner works with. Bucket, Letters, Log, Load and Process are required.
type Config struct {
	Bucket  Bucket
	Letters Letters
	Log     pipeline.Log
	// Load returns how many tasks wait for a worker type, those counted that events will soon lead to.
	Load func(ctx context.Context, worker string) (int, error)
	// MaxWaiting is the load from which on no further job of the type is redriven; 100 when 0.
	MaxWaiting int
	// Process names this process; no other has the name.
	Process string
	// Alone says that no other process leads runs, so that those of one that died are taken over at once.
	Alone bool
	// Every is the time between two looks for runs, and at a load that is too high; 2 s when 0.
	Every time.Duration
	// Lease is how long a leader may write nothing before another takes over; 30 s when 0.
	Lease time.Duration
	// Logger logs each letter that is acted on, with the run and its reason; nil logs nothing.
	Logger *slog.Logger
}

// keepRuns is how long a run is kept after its end.
const keepRuns = 30 * 24 * time.Hour

// Runner leads runs, each in a goroutine of its own. New makes one.
type Runner struct {
	Config
	bell      chan struct{}
	recurring *pipeline.Recurring

	mu    sync.Mutex
	led   map[string]bool // the runs that this process leads, by id
	seen  map[string]seen // by id, of running runs
	stuck map[string]int  // how often a letter failed without an outcome, by run and letter
}

// seen is a revision of a run, and since when it has been the last one.
type seen struct {
	revision uint64
	since    time.Time
}

// New returns a Runner that does nothing before Run.
func New(c Config) *Runner {
	if c.MaxWaiting == 0 {
		c.MaxWaiting = 100
	}
	if c.Every == 0 {
		c.Every = 2 * time.Second
	}
	if c.Lease == 0 {
		c.Lease = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Runner{
		Config: c, bell: make(chan struct{}, 1), led: map[string]bool{}, seen: map[string]seen{},
		stuck:     map[string]int{},
		recurring: &pipeline.Recurring{Logger: c.Logger},
	}
}

// Wake makes the Runner look for runs now.
func (w *Runner) Wake() {
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

// leadRuns is what Run tries, for the log.
const leadRuns = "lead the bulk runs of dead letters"

// Run leads runs until ctx ends, and returns nil. It gives those that it leads back.
func (w *Runner) Run(ctx context.Context) error {
	var leaders sync.WaitGroup
	defer leaders.Wait()
	for ctx.Err() == nil {
		runs, err := w.Bucket.BulkRuns(ctx)
		if err != nil && ctx.Err() == nil {
			w.recurring.Failed(leadRuns, "error", err)
		}
		for _, r := range runs {
			if r.EndedAt != nil && time.Since(*r.EndedAt) > keepRuns {
				if err := w.Bucket.DropBulkRun(ctx, r.Project, r.ID); err != nil && ctx.Err() == nil {
					w.recurring.Failed("remove an old bulk run", "run", r.ID, "error", err)
				}
				continue
			}
			if !w.mine(r) {
				continue
			}
			leaders.Go(func() {
				defer w.leave(r.ID)
				if err := w.lead(ctx, r); err != nil && ctx.Err() == nil {
					w.recurring.Failed(leadRuns, "run", r.ID, "error", err)
				}
			})
		}
		w.wait(ctx, w.Every)
	}
	return nil
}

// wait returns after d, at a bell, or when ctx ends.
func (w *Runner) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-w.bell:
	case <-t.C:
	case <-ctx.Done():
	}
}

// mine reports whether this process is to lead the run now, and notes that it does.
func (w *Runner) mine(r Run) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Status != Running || w.led[r.ID] {
		delete(w.seen, r.ID)
		return false
	}
	if r.Leader != "" && r.Leader != w.Process && !w.Alone {
		last, ok := w.seen[r.ID]
		if !ok || last.revision != r.Revision {
			w.seen[r.ID] = seen{r.Revision, time.Now()}
			return false
		}
		if time.Since(last.since) < w.Lease {
			return false
		}
	}
	w.led[r.ID] = true
	return true
}

func (w *Runner) leave(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.led, id)
}

// errStop says that the run is not running any more, or that another process leads it.
var errStop = errors.New("stop leading")

// lead leads a run to its end, until it is paused or canceled, or ctx ends.
func (w *Runner) lead(ctx context.Context, r Run) error {
	ctx = pipeline.WithActor(ctx, r.Actor)
	l := &leader{Runner: w, run: r}
	err := l.begin(ctx)
	if err == nil {
		err = l.all(ctx)
	}
	if ctx.Err() != nil && !errors.Is(err, errStop) {
		l.giveBack(context.WithoutCancel(ctx))
	}
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// leader is a run that this process leads. Its run has progress that is not stored yet.
type leader struct {
	*Runner
	run    Run
	redone string // the letter that an earlier leader was about to act on
	wrote  time.Time
}

// begin writes that this process leads the run, and finds out what became of the letter that the leader
// before was about to act on.
func (l *leader) begin(ctx context.Context) error {
	l.run.Leader, l.run.UpdatedAt = l.Process, time.Now().UTC()
	var err error
	if l.run, err = l.Bucket.PutBulkRun(ctx, l.run); err != nil {
		if errors.Is(err, pipeline.ErrConflict) {
			return errStop // the next look shows what happened
		}
		return err
	}
	l.wrote = time.Now()
	if l.redone = l.run.Current; l.redone == "" {
		return nil
	}
	_, err = l.Letters.DeadLetterByID(ctx, l.run.Project, l.redone)
	if errors.Is(err, pipeline.ErrNotFound) {
		l.count(l.redone, &l.run.Done)
		return nil
	}
	return err
}

// count counts the letter that was acted on.
func (l *leader) count(id string, in *int) {
	*in++
	l.run.Cursor, l.run.Current = id, ""
}

// save stores the progress. It keeps what others have written about the state. errStop: the run is not
// running any more, or another process leads it.
func (l *leader) save(ctx context.Context) error {
	for range maxConflicts {
		l.run.UpdatedAt = time.Now().UTC()
		stored, err := l.Bucket.PutBulkRun(ctx, l.run)
		if err == nil {
			l.run, l.wrote = stored, time.Now()
			if l.run.Status != Running && l.run.Leader == "" {
				return errStop
			}
			return nil
		}
		if !errors.Is(err, pipeline.ErrConflict) {
			return err
		}
		now, err := l.Bucket.BulkRun(ctx, l.run.Project, l.run.ID)
		if err != nil {
			return err
		}
		if now.Leader != l.Process {
			return errStop
		}
		now.adopt(l.run)
		if now.Status != Running { // leave it to whoever resumes it
			now.Current, now.Leader, now.Waiting = "", "", ""
		}
		l.run = now
	}
	return pipeline.ErrConflict
}

// giveBack lets any process lead the run at once. It takes a moment at most, since the process ends.
func (l *leader) giveBack(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	l.run.Leader = ""
	if _, err := l.Bucket.PutBulkRun(limited, l.run); err != nil {
		l.Logger.Warn("give a bulk run back; another process takes it over later", "run", l.run.ID, "error", err)
	}
}

// all acts on all letters that are left, and ends the run.
func (l *leader) all(ctx context.Context) error {
	for after, more := l.run.Cursor, true; more; {
		letters, next, err := l.Letters.DeadLetters(ctx, l.run.Project, after, pageSize)
		if err != nil {
			return err
		}
		for _, d := range letters {
			if d.Sequence > l.run.Last {
				next = ""
				break
			}
			if l.run.Filter.Selects(d) {
				if err := l.one(ctx, d); err != nil {
					return err
				}
			}
		}
		after, more = next, next != ""
	}
	now := time.Now().UTC()
	l.run.Skipped, l.run.Waiting = l.run.Total-l.run.Done-l.run.Failed, ""
	l.run.Status, l.run.EndedAt = Completed, &now
	return l.end(ctx)
}

// end stores the end. A run that was paused or canceled meanwhile, and has nothing left, is completed.
func (l *leader) end(ctx context.Context) error {
	for range maxConflicts {
		stored, err := l.Bucket.PutBulkRun(ctx, l.run)
		if err == nil {
			l.Logger.InfoContext(ctx, "a bulk run of dead letters is completed", "run", stored.ID, "action",
				stored.Action, "reason", stored.Reason, "done", stored.Done, "failed", stored.Failed,
				"skipped", stored.Skipped)
			return nil
		}
		if !errors.Is(err, pipeline.ErrConflict) {
			return err
		}
		now, err := l.Bucket.BulkRun(ctx, l.run.Project, l.run.ID)
		if err != nil {
			return err
		}
		if now.Leader != l.Process {
			return errStop
		}
		l.run.Revision = now.Revision
	}
	return pipeline.ErrConflict
}

// one acts on a letter: it waits until there is room for its job, stores that it is next, and does it.
func (l *leader) one(ctx context.Context, d pipeline.DeadLetter) error {
	if err := l.await(ctx, d); err != nil {
		return err
	}
	l.run.Current = d.ID
	if err := l.save(ctx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := l.act(ctx, d)
	if err == nil || ctx.Err() != nil || errors.Is(err, errStop) || !l.givesUp(d, err) {
		return err
	}
	return l.failed(ctx, d, err.Error())
}

func (l *leader) act(ctx context.Context, d pipeline.DeadLetter) error {
	if l.run.Action == Redrive {
		return l.redrive(ctx, d)
	}
	if err := l.discard(ctx, d); err != nil {
		return err
	}
	l.count(d.ID, &l.run.Done)
	l.told(ctx, d, "discard a dead letter")
	return nil
}

// maxTries limits how often a letter may fail in an unknown way, so that one does not hold up the others. The
// progress was stored before each of them, so the broker answers.
const maxTries = 10

// givesUp counts an error of an unknown kind, and reports whether there were too many for the letter. A log
// that is full is no reason: the run waits for room.
func (l *leader) givesUp(d pipeline.DeadLetter, err error) bool {
	var known *pipeline.Error
	if errors.As(err, &known) && (known.Code == pipeline.CodeLogFull || known.Code == pipeline.CodeDiskFull) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := l.run.ID + "/" + d.ID
	l.stuck[key]++
	if l.stuck[key] < maxTries {
		return false
	}
	delete(l.stuck, key)
	return true
}

// await waits while too many tasks wait for the worker type of a letter. It writes so, and goes on writing,
// so that nobody takes over.
func (l *leader) await(ctx context.Context, d pipeline.DeadLetter) error {
	for l.run.Action == Redrive && isTask(d) {
		worker := d.Task.Job.Worker
		load, err := l.Load(ctx, worker)
		if err != nil {
			return err
		}
		if load < l.MaxWaiting {
			break
		}
		text := fmt.Sprintf("%d or more tasks wait for %s", l.MaxWaiting, worker)
		if l.run.Waiting != text || time.Since(l.wrote) > l.Lease/3 {
			l.run.Waiting = text
			if err := l.save(ctx); err != nil {
				return err
			}
		} else if err := l.look(ctx); err != nil {
			return err
		}
		t := time.NewTimer(l.Every)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
	l.run.Waiting = ""
	return nil
}

// look saves the progress if somebody has changed the state.
func (l *leader) look(ctx context.Context) error {
	now, err := l.Bucket.BulkRun(ctx, l.run.Project, l.run.ID)
	if err != nil || now.Revision == l.run.Revision {
		return err
	}
	return l.save(ctx)
}

// redrive retries the job of a letter and removes the letter. A job that cannot be retried keeps its letter.
func (l *leader) redrive(ctx context.Context, d pipeline.DeadLetter) error {
	if !isTask(d) {
		return l.failed(ctx, d, "the message is not a task, so there is no job to try again")
	}
	_, requeued, err := pipeline.RedriveLetter(ctx, l.Log, l.run.Project, d, l.run.Reason)
	switch {
	case errors.Is(err, pipeline.ErrState):
		return l.failed(ctx, d, strings.TrimSuffix(err.Error(), ": "+pipeline.ErrState.Error()))
	case errors.Is(err, pipeline.ErrNotFound): // the video was deleted
	case err != nil:
		return err
	}
	if err := l.discard(ctx, d); err != nil {
		return err
	}
	if requeued || d.ID == l.redone {
		l.count(d.ID, &l.run.Done)
		l.told(ctx, d, "redrive a dead letter")
		return nil
	}
	l.count(d.ID, &l.run.Skipped)
	l.told(ctx, d, "discard a dead letter, whose job was retried since, or whose video was deleted")
	return nil
}

// isTask reports whether a letter holds a task.
func isTask(d pipeline.DeadLetter) bool { return d.Raw == nil && d.Task.Job.Name != "" }

func (l *leader) failed(ctx context.Context, d pipeline.DeadLetter, detail string) error {
	if len(l.run.Failures) < MaxFailures {
		l.run.Failures = append(l.run.Failures, LetterFailure{Letter: d.ID, Detail: detail})
	}
	l.count(d.ID, &l.run.Failed)
	l.told(ctx, d, "keep a dead letter: "+detail)
	return nil
}

// discard removes a letter, which may be gone.
func (l *leader) discard(ctx context.Context, d pipeline.DeadLetter) error {
	err := l.Letters.Discard(ctx, l.run.Project, d.ID)
	if errors.Is(err, pipeline.ErrNotFound) {
		return nil
	}
	return err
}

// told logs what was done with a letter.
func (l *leader) told(ctx context.Context, d pipeline.DeadLetter, what string) {
	l.Logger.InfoContext(ctx, what, "run", l.run.ID, "reason", l.run.Reason, "letter", d.ID,
		"video", d.Task.Video, "job", d.Task.Job.Name)
}
