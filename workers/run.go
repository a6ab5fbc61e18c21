package workers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// errTokenLost says that the job has a later event than this attempt's start: somebody else has it, or nobody
// wants it.
var errTokenLost = errors.New("the attempt lost its token")

// errStopping says that the loop is asked to stop.
var errStopping = errors.New("the worker is stopping")

// errTimeout says that the attempt ran past its time.
var errTimeout = errors.New("the attempt ran past its timeout")

// deliver carries one delivered task through the attempt rule. What cannot be written now is left to the next
// delivery: nothing is acknowledged before it is done.
func (l *Loop) deliver(ctx context.Context, d Delivery) {
	if err := l.apply(ctx, d); err != nil {
		l.Logger.Warn("leave task to its next delivery",
			"video", d.Task().Video, "job", d.Task().Job.Name, "error", err)
	}
}

func (l *Loop) apply(ctx context.Context, d Delivery) error {
	task := d.Task()
	last, err := l.last(ctx, task)
	if err != nil {
		return err
	}
	switch decide(d.Sequence(), task.Cause, last, l.MaxLost) {
	case drop:
		return d.Ack(ctx)
	case bury:
		return l.bury(ctx, d, last.Last.Sequence, last.Data)
	case rearm:
		return l.rearm(ctx, d, last.Last, last.Data)
	case spend:
		return l.errored(ctx, d, last.Last, l.lostData(d, last))
	case shelve:
		data := l.lostData(d, last)
		return l.retry(ctx, d, last.Last, data, shelfTime(data.Lost))
	default:
		return l.attempt(ctx, d, last)
	}
}

// last returns the fold of the task's job.
func (l *Loop) last(ctx context.Context, task pipeline.Task) (pipeline.JobFold, error) {
	events, err := l.Log.Last(ctx, task.JobSubject())
	if err != nil {
		return pipeline.JobFold{}, err
	}
	return pipeline.FoldJob(events[0])
}

// attempt wins the token, works, and writes what came of it.
func (l *Loop) attempt(ctx context.Context, d Delivery, last pipeline.JobFold) error {
	task := d.Task()
	data := begun(task, last, d.Sequence(), l.Process)
	cause := pipeline.Event{ID: task.EventID, TraceParent: task.Trace}
	started, err := l.swap(ctx, task, pipeline.JobStarted, cause, data, last.Last.Sequence)
	if err != nil {
		return fmt.Errorf("start attempt: %w", err)
	}
	data.Token = started.Sequence
	log := l.Logger.With("video", task.Video, "job", task.Job.Name, "attempt", data.Attempt, "trace", task.Trace)
	log.Debug("attempt started")

	result, err := l.work(ctx, d, started, data)

	writes, cancel := lastWrites(ctx)
	defer cancel()
	switch {
	case err == nil:
		err = l.completed(writes, d, started, data, result)
	case errors.Is(err, errTokenLost):
		log.Warn("attempt dropped", "error", err)
	case errors.Is(err, errStopping):
		err = l.interrupted(writes, d, started, data)
	default:
		log.Warn("attempt failed", "error", err)
		err = l.failed(writes, d, started, data, err)
	}
	if errors.Is(err, errTokenLost) || errors.Is(err, pipeline.ErrConflict) {
		_, dropErr := storage.DeletePrefix(writes, l.Store, outputPrefix(task, started.Sequence))
		return errors.Join(errTokenLost, dropErr)
	}
	return err
}

func outputPrefix(t pipeline.Task, token uint64) string {
	return storage.OutputPrefix(t.Video, t.Job.Name, token)
}

// work runs the worker in a scratch directory of its own, under a heartbeat, and passes its result through
// the gate. The context that the worker gets ends, with the reason as its cause, when the loop stops, the
// token is lost or the time is up.
func (l *Loop) work(ctx context.Context, d Delivery, started pipeline.Event, data pipeline.JobEvent) (
	result pipeline.Result, err error,
) {
	task := d.Task()
	dir := filepath.Join(l.Scratch, task.Job.Name+"-"+strconv.FormatUint(started.Sequence, 10))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return pipeline.Result{}, fmt.Errorf("make scratch: %w", err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			l.Logger.Warn("remove scratch", "job", task.Job.Name, "error", err)
		}
	}()

	timeout := l.Timeout
	if task.Job.Timeout > 0 {
		timeout = task.Job.Timeout.Duration()
	}
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(errStopping) })()
	defer time.AfterFunc(timeout, func() { cancel(errTimeout) }).Stop()

	var beat sync.WaitGroup
	defer beat.Wait()
	defer cancel(nil)
	beat.Go(func() { l.heartbeat(work, cancel, d, started.Sequence) })

	result, err = l.call(work, task, started.Sequence, data.Attempt, dir)
	if cause := context.Cause(work); cause != nil && err != nil {
		if errors.Is(cause, errTimeout) {
			return result, pipeline.Fail(pipeline.CodeJobTimeout, "no result within %s", timeout)
		}
		return result, cause
	}
	if err != nil {
		return result, err
	}
	last, stop := lastWrites(ctx) // work that is done is not thrown away because the loop stops just now
	defer stop()
	return result, l.gate(last, task, started.Sequence, result)
}

// call runs the registered worker. A panic is an error of class bug.
func (l *Loop) call(ctx context.Context, task pipeline.Task, token uint64, number int, dir string) (
	result pipeline.Result, err error,
) {
	defer func() {
		if p := recover(); p != nil {
			l.Logger.Error("worker panicked", "job", task.Job.Name, "panic", p, "stack", string(debug.Stack()))
			err = pipeline.Fail(pipeline.CodeWorkerPanicked, "panic: %v", p)
		}
	}()
	results, err := l.results(ctx, task)
	if err != nil {
		return pipeline.Result{}, err
	}
	a := NewAttempt(Attempt{
		Task: task, Token: token, Number: number, Results: results, Dir: dir,
		Log: l.Logger.With("video", task.Video, "job", task.Job.Name, "attempt", number),
	}, storeFiles{l.Store}, l.teller(ctx, task.Project))
	return l.Registry.Work(ctx, a)
}

// results returns what the jobs before this one left.
func (l *Loop) results(ctx context.Context, task pipeline.Task) (map[string]pipeline.Result, error) {
	if len(task.Job.After) == 0 {
		return nil, nil
	}
	subjects := make([]string, len(task.Job.After))
	for i, a := range task.Job.After {
		subjects[i] = pipeline.JobSubject(task.Project, task.Video, a)
	}
	events, err := l.Log.Last(ctx, subjects...)
	if err != nil {
		return nil, err
	}
	results := make(map[string]pipeline.Result, len(events))
	for i, e := range events {
		before, err := pipeline.FoldJob(e)
		if err != nil {
			return nil, err
		}
		if before.State != pipeline.JobStateCompleted || before.Data.Result == nil {
			return nil, fmt.Errorf("job %s is not completed", task.Job.After[i])
		}
		results[task.Job.After[i]] = *before.Data.Result
	}
	return results, nil
}

// teller returns a progress function that tells at most twice a second, and never of less than was told.
func (l *Loop) teller(ctx context.Context, project string) func(pipeline.Progress) {
	var mu sync.Mutex
	var told time.Time
	var highest float64
	return func(p pipeline.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.Fraction > highest { // false for NaN
			highest = min(1, p.Fraction)
		}
		if time.Since(told) < 500*time.Millisecond {
			return
		}
		told, p.Fraction = time.Now(), highest
		if err := l.Tasks.Progress(ctx, project, p); err != nil {
			l.Logger.Debug("tell progress", "error", err)
		}
	}
}

// heartbeat renews the lease and checks that the token is still the last event of the job, until ctx ends. A
// beat that cannot be sent is no reason to stop: the token is checked again before anything is written.
func (l *Loop) heartbeat(ctx context.Context, cancel context.CancelCauseFunc, d Delivery, token uint64) {
	tick := time.NewTicker(l.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		last, err := l.last(ctx, d.Task())
		switch {
		case err == nil && last.Last.Sequence != token:
			cancel(errTokenLost)
			return
		case err == nil:
			err = d.Extend(ctx)
		}
		if err != nil && ctx.Err() == nil {
			l.Logger.Warn("heartbeat", "job", d.Task().Job.Name, "error", err)
		}
	}
}

// gate is the last check before job.completed: the result can be written down, and every output is in the
// store, below this attempt's token, with the size that was written.
func (l *Loop) gate(ctx context.Context, task pipeline.Task, token uint64, r pipeline.Result) error {
	if _, err := json.Marshal(r); err != nil {
		return pipeline.Fail(pipeline.CodeVerification, "result: %w", err)
	}
	if len(r.Outputs) == 0 {
		return nil
	}
	prefix := outputPrefix(task, token)
	sizes := map[string]int64{}
	for info, err := range l.Store.List(ctx, prefix) {
		if err != nil {
			return pipeline.Fail(pipeline.CodeStorageFailed, "list outputs: %w", err)
		}
		sizes[info.Key] = info.Size
	}
	for _, o := range r.Outputs {
		size, ok := storedSize(sizes, o)
		if !ok || size != o.Size || size == 0 || o.Key != prefix+o.Path {
			return pipeline.Fail(pipeline.CodeVerification, "output %s: %d bytes in the store, %d written",
				o.Path, size, o.Size)
		}
	}
	return nil
}

// storedSize returns the bytes of an output in the store; ok is false when an object is missing.
func storedSize(sizes map[string]int64, o pipeline.Output) (total int64, ok bool) {
	if o.Segments == nil {
		total, ok = sizes[o.Key]
		return total, ok
	}
	for n := o.Segments.First; n < o.Segments.First+o.Segments.Count; n++ {
		size, ok := sizes[SegmentName(o.Key, n)]
		if !ok {
			return total, false
		}
		total += size
	}
	return total, true
}
