package pipeline_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// open is a world with one open video, as the sweeper sees it.
type open struct {
	*world
	scheduled *time.Time // when the schedule is due; nil or zero: there is none
}

func (o open) Due(context.Context, pipeline.Task) (at time.Time, err error) {
	if o.scheduled != nil {
		at = *o.scheduled
	}
	return at, nil
}

func (o open) Schedule(_ context.Context, _ pipeline.Task, at time.Time) error {
	*o.scheduled = at
	return nil
}

func (o open) Unfinished(_ context.Context, _, _ time.Time, after string, _ int) ([]pipeline.VideoRef, error) {
	if after != "" {
		return nil, nil
	}
	return []pipeline.VideoRef{{Project: project, ID: video}}, nil
}

func (o open) Queued(_ context.Context, t pipeline.Task) (bool, error) {
	scheduled := o.scheduled != nil && !o.scheduled.IsZero()
	return scheduled || slices.Contains(o.tasks.names(), t.Job.Name), nil
}

func TestSweeper(t *testing.T) {
	begun := func(w *world, job string, e pipeline.EventType) { // then its task is lost
		task, _ := w.tasks.take(job)
		w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
		if e == pipeline.JobRetrying {
			w.write(e, task, retrying())
		}
		w.settle()
	}
	missed := func(w *world, job string) { // nobody acts on its completion
		task, _ := w.tasks.take(job)
		w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
		w.write(pipeline.JobCompleted, task, pipeline.JobEvent{Attempt: 1, Result: &pipeline.Result{}})
	}
	for name, c := range map[string]struct {
		lose func(w *world)
		want []string // the jobs in the queue afterwards
		kind string
	}{
		"nothing": {func(*world) {}, []string{"a", "b"}, ""},
		"task":    {func(w *world) { w.tasks.take("a") }, []string{"a", "b"}, pipeline.RepairTask},
		"task of a begun job": {
			func(w *world) { begun(w, "a", "") }, []string{"a", "b"}, pipeline.RepairTask,
		},
		"timer": {
			func(w *world) { begun(w, "a", pipeline.JobRetrying) }, []string{"a", "b"}, pipeline.RepairTask,
		},
		"event": {
			func(w *world) { w.run("a", pipeline.Result{}); missed(w, "b") }, []string{"notify"}, pipeline.RepairEvent,
		},
		"notification": {
			func(w *world) {
				w.run("a", pipeline.Result{})
				w.run("b", pipeline.Result{})
				w.tasks.take("notify")
			}, []string{"notify"}, pipeline.RepairTask,
		},
		"telling that it is playable": {
			func(w *world) {
				w.run("a", manifest("a.m3u8"))
				w.tasks.take("notify-playable")
			}, []string{"b", "notify-playable"}, pipeline.RepairTask,
		},
		"telling that it was playable": {
			func(w *world) {
				w.run("a", manifest("a.m3u8"))
				w.run("b", pipeline.Result{})
				w.run("notify", pipeline.Result{})
				w.tasks.take("notify-playable")
			}, []string{"notify-playable"}, pipeline.RepairTask,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := planner{"a": {{}}, "b": {{}}}
			w := newWorld(t, p)
			w.accept(uploadOf(p.pipeline()))
			w.run("inspect", accepted())
			c.lose(w)
			s := &pipeline.Sweeper{Coordinator: w.coord, Videos: open{world: w}, Queue: open{world: w}}
			before := w.log.sequence
			sweep := func(age time.Duration) {
				s.Age = age
				if err := s.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			sweep(time.Hour) // everything is young: nothing is repaired
			if n := s.Repairs(); n[pipeline.RepairEvent]+n[pipeline.RepairTask] != 0 || w.log.sequence != before {
				t.Fatalf("repaired a job that is on its way: %v", n)
			}
			sweep(time.Nanosecond)
			sweep(time.Nanosecond)
			w.want(c.want...)
			for kind, n := range s.Repairs() {
				if want := map[bool]uint64{true: 1}[kind == c.kind]; n != want {
					t.Errorf("%s repaired %d times, want %d", kind, n, want)
				}
			}
			if task, ok := w.tasks.take(c.want[0]); ok && c.kind == pipeline.RepairTask {
				last, err := w.log.Last(t.Context(), task.JobSubject())
				if err != nil || task.Cause != last[0].Sequence {
					t.Errorf("the task is made for %d, the job is at %d", task.Cause, last[0].Sequence)
				}
			}
		})
	}
}

// TestSweeperLeavesTheWindow: a job that waits for its turn is not lost, even if the video stands still for
// long.
func TestSweeperLeavesTheWindow(t *testing.T) {
	w := planned(t, 12, 3)
	s := &pipeline.Sweeper{Coordinator: w.coord, Videos: open{world: w}, Queue: open{world: w}, Age: time.Nanosecond}
	sweep := func(tasks uint64, from, to int) {
		t.Helper()
		if err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := s.Repairs(); n[pipeline.RepairTask] != tasks || n[pipeline.RepairEvent] != 0 {
			t.Errorf("repairs %v, want %d tasks", n, tasks)
		}
		w.wantTurns(from, to, "audio", "t-first", "t-copy")
	}
	sweep(0, 0, 6)
	w.coord.Slots = func(string) int { return 4 } // a worker has started
	sweep(0, 0, 8)
	w.tasks.take("t-01")
	w.tasks.take("t-07")
	sweep(1, 0, 8) // both are enqueued again; only the first was certainly lost
	w.tasks.take("t-first")
	sweep(2, 0, 8)
}

// TestSweeperAfterTheClockWasSet checks that the sweeper brings forward a schedule that is due later than its
// delay, once the clock was set back, or forward and back. It leaves alone one that is due in time, and it
// repairs a lost task whose event is from the future.
func TestSweeperAfterTheClockWasSet(t *testing.T) {
	written := time.Now()
	for name, c := range map[string]struct {
		now   time.Time     // what the clock says
		due   time.Duration // after written; 0: the schedule is lost
		want  time.Duration // when it is due at last, after written
		kind  string
		tasks int
	}{
		"nothing happened":              {written.Add(10 * time.Minute), 20 * time.Minute, 20 * time.Minute, "", 0},
		"an hour back":                  {written.Add(-time.Hour), 20 * time.Minute, -40 * time.Minute, pipeline.RepairClock, 0},
		"a day forward":                 {written.Add(24 * time.Hour), 20 * time.Minute, 20 * time.Minute, "", 0},
		"the schedule was a day ahead":  {written.Add(10 * time.Minute), 24 * time.Hour, 30 * time.Minute, pipeline.RepairClock, 0},
		"an hour back, and a lost task": {written.Add(-time.Hour), 0, 0, pipeline.RepairTask, 1},
		"a minute back: clocks differ":  {written.Add(-time.Minute), 20 * time.Minute, 20 * time.Minute, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := planner{"a": {{}}}
			w := newWorld(t, p)
			w.accept(uploadOf(p.pipeline()))
			w.run("inspect", accepted())
			task, _ := w.tasks.take("a")
			w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
			data, at := retrying(), written.Add(20*time.Minute)
			data.RetryAt = &at
			w.write(pipeline.JobRetrying, task, data)
			w.settle()
			var due time.Time
			if c.due != 0 {
				due = written.Add(c.due)
			}
			o := open{w, &due}
			s := &pipeline.Sweeper{
				Coordinator: w.coord, Videos: o, Queue: o, Now: func() time.Time { return c.now },
			}
			for range 2 { // the second round finds nothing
				if err := s.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			for kind, n := range s.Repairs() {
				if want := map[bool]uint64{true: 1}[kind == c.kind]; n != want {
					t.Errorf("%s repaired %d times, want %d", kind, n, want)
				}
			}
			if n := len(w.tasks.names()); n != c.tasks {
				t.Errorf("%d tasks, want %d", n, c.tasks)
			}
			if off := due.Sub(written.Add(c.want)).Abs(); c.due != 0 && off > time.Minute {
				t.Errorf("it is due %v after it was written, want %v", due.Sub(written), c.want)
			}
		})
	}
}

// moving is a queue whose videos move on while the sweeper looks.
type moving struct {
	open
	move func()
}

func (m *moving) Queued(ctx context.Context, t pipeline.Task) (bool, error) {
	if m.move != nil {
		m.move()
		m.move = nil
	}
	return m.open.Queued(ctx, t)
}

// TestSweeperWhileOthersAct checks that what others do while the sweeper looks is no repair: a job of minutes
// ends, or a person cancels.
func TestSweeperWhileOthersAct(t *testing.T) {
	p := planner{"a": {{}}, "b": {{}}}
	for name, act := range map[string]func(w *world, task pipeline.Task){
		"the last job ends": func(w *world, task pipeline.Task) {
			w.write(pipeline.JobCompleted, task, pipeline.JobEvent{Attempt: 1, Result: &pipeline.Result{}})
		},
		"a cancel": func(w *world, _ pipeline.Task) {
			if _, err := pipeline.Cancel(t.Context(), w.log, project, video); err != nil {
				t.Error(err)
			}
		},
	} {
		w := newWorld(t, p)
		w.accept(uploadOf(p.pipeline()))
		w.run("inspect", accepted())
		w.run("a", pipeline.Result{})
		task := w.tasks.waiting[0]
		w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
		s := &pipeline.Sweeper{Coordinator: w.coord, Videos: open{world: w}, Age: time.Nanosecond,
			Queue: &moving{open{world: w}, func() { act(w, task) }}}
		if err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := s.Repairs(); n[pipeline.RepairEvent]+n[pipeline.RepairTask] != 0 {
			t.Errorf("%s: repairs %v", name, n)
		}
	}
}

// TestSweeperBeforeTheCoordinator checks that the sweeper acts on old events which the coordinator has not come
// to, as when the server was down, but takes them for no repair.
func TestSweeperBeforeTheCoordinator(t *testing.T) {
	p := planner{"a": {{}}, "b": {{}}}
	for name, c := range map[string]struct {
		lose func(w *world)
		want string // in the queue
	}{
		"an end": {func(w *world) {
			w.run("a", pipeline.Result{})
			task, _ := w.tasks.take("b")
			w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
			w.write(pipeline.JobCompleted, task, pipeline.JobEvent{Attempt: 1, Result: &pipeline.Result{}})
		}, "notify"},
		"a verdict": {func(w *world) { w.tasks.take("a"); w.tasks.take("b") }, "a"},
	} {
		for _, behind := range []bool{true, false} {
			w := newWorld(t, p)
			w.accept(uploadOf(p.pipeline()))
			w.run("inspect", accepted())
			c.lose(w)
			settled := w.log.sequence
			if behind {
				settled = w.log.of(pipeline.VideoUploaded)[0].Sequence
			}
			s := &pipeline.Sweeper{Coordinator: w.coord, Videos: open{world: w}, Queue: open{world: w}, Age: time.Nanosecond,
				Settled: func(context.Context) (uint64, error) { return settled, nil }}
			if err := s.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(w.tasks.names(), c.want) {
				t.Errorf("%s: the queue has %v", name, w.tasks.names())
			}
			if n := s.Repairs(); (n[pipeline.RepairEvent]+n[pipeline.RepairTask] == 0) != behind {
				t.Errorf("%s, behind %t: repairs %v", name, behind, n)
			}
		}
	}
}
